"""Deeds on what runs log: metrics, parameters, tags, inputs and outputs."""

from __future__ import annotations

import json

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint
from repro.tracking.entities import Batch, Metric
from repro.tracking.model_wire import find_model_metric
from repro.tracking.pages import cut_page
from repro.tracking.run_models import ModelOutput, keep_model_inputs, keep_model_outputs
from repro.tracking.server.calls import Call, get_page_size, get_run_id, get_word
from repro.tracking.server.limits import check_batch, cut_batch, cut_params, cut_tags
from repro.tracking.server.replies import JsonReply
from repro.tracking.server.site import Site
from repro.tracking.wire import (
    Fields,
    find_text,
    find_whole,
    format_metric,
    get_text,
    list_fields,
    parse_batch,
    parse_dataset,
    parse_metric,
)

_DONE = JsonReply(fields={})
_MAX_HISTORY = 25_000
_MAX_HISTORIES = 100
_LOGGED_MODELS = "mlflow.log-model.history"
_MODEL_FIELDS = ("run_id", "utc_time_created", "artifact_path", "model_uuid")


def _keep_model_metrics(site: Site, run_id: str, metrics: list[Fields]) -> None:
    """Keep on each model what was measured on it, beside what the run keeps."""
    for fields in metrics:
        if found := find_model_metric(fields, run_id):
            site.models.log_metric(*found)


def _drop_known(site: Site, run_id: str, metrics: list[Fields]) -> list[Fields]:
    """Return metrics without the points that a run has: MLflow 3 sends what it has logged again, now with a model."""
    kept = []
    known: dict[str, set[tuple[int, int, str]]] = {}
    for fields in metrics:
        if not find_text(fields, "model_id"):
            kept.append(fields)
            continue
        metric = parse_metric(fields)
        if metric.key not in known:
            known[metric.key] = {_identify(point) for point in site.store.get_metric_history(run_id, metric.key)}
        if _identify(metric.point) not in known[metric.key]:
            known[metric.key].add(_identify(metric.point))
            kept.append(fields)
    return kept


def _identify(point: MetricPoint) -> tuple[int, int, str]:
    return point.step, point.timestamp_ms, repr(point.value)  # NaN is NaN


def _check_models(site: Site, metrics: list[Fields]) -> None:
    """Refuse metrics of a model that there is not before anything of them is kept."""
    for model_id in {find_text(fields, "model_id") for fields in metrics}:
        if model_id:
            site.models.get(model_id)


def log_metric(site: Site, call: Call) -> JsonReply:
    """Log one point."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    metric = parse_metric(fields)
    _check_models(site, [fields])
    if _drop_known(site, run_id, [fields]):
        site.store.log_metric(run_id, metric.key, metric.point)
    _keep_model_metrics(site, run_id, [fields])
    return _DONE


def log_parameter(site: Site, call: Call) -> JsonReply:
    """Log one parameter."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    params = cut_params({get_word(fields, "key"): find_text(fields, "value") or ""})
    site.store.log_batch(run_id, Batch(params=params))
    return _DONE


def log_batch(site: Site, call: Call) -> JsonReply:
    """Log many values."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    metrics = list_fields(fields, "metrics")
    check_batch(metrics, list_fields(fields, "params"), list_fields(fields, "tags"))
    _check_models(site, metrics)
    site.store.log_batch(run_id, cut_batch(parse_batch({**fields, "metrics": _drop_known(site, run_id, metrics)})))
    _keep_model_metrics(site, run_id, metrics)
    return _DONE


def set_tag(site: Site, call: Call) -> JsonReply:
    """Set one tag."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    for key, value in cut_tags({get_word(fields, "key"): find_text(fields, "value") or ""}).items():
        site.store.set_tag(run_id, key, value)
    return _DONE


def delete_tag(site: Site, call: Call) -> JsonReply:
    """Remove a tag."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    site.store.delete_tag(run_id, get_word(fields, "key"))
    return _DONE


def _parse_outputs(fields: Fields) -> list[ModelOutput]:
    return [
        ModelOutput(model_id=get_text(each, "model_id"), step=find_whole(each, "step") or 0)
        for each in list_fields(fields, "models")
    ]


def log_inputs(site: Site, call: Call) -> JsonReply:
    """Keep which datasets and models a run has read."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    datasets = tuple(parse_dataset(each) for each in list_fields(fields, "datasets"))
    models = [get_text(each, "model_id") for each in list_fields(fields, "models")]
    site.store.log_datasets(run_id, datasets)
    keep_model_inputs(site.store.find_run_dir(run_id), models)
    return _DONE


def log_outputs(site: Site, call: Call) -> JsonReply:
    """Keep which models a run has made."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    outputs = _parse_outputs(fields)
    if site.store.get_info(run_id).lifecycle_stage != "active":
        raise TrackingError(f"the run `{run_id}` is deleted")
    keep_model_outputs(site.store.find_run_dir(run_id), outputs)
    return _DONE


def _parse_model(text: str) -> dict[str, object]:
    """Return what is kept of the MLmodel that clients before MLflow 3 log, as MLflow keeps it."""
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrackingError("Malformed model info: it is not a valid JSON.") from error
    fields = {"artifact_path", "flavors", "utc_time_created", "run_id"}
    if not isinstance(model, dict) or not isinstance(model.get("flavors"), dict) or fields - set(model):
        raise TrackingError(f"Model json is missing mandatory fields: {sorted(fields)}")
    flavors = {
        name: {key: value for key, value in flavor.items() if key != "config"} if isinstance(flavor, dict) else flavor
        for name, flavor in model["flavors"].items()
    }
    return {**{key: model[key] for key in _MODEL_FIELDS if key in model}, "flavors": flavors}


def _parse_history(text: str | None) -> list[object]:
    try:
        history = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return history if isinstance(history, list) else []


def log_model(site: Site, call: Call) -> JsonReply:
    """Note in a tag that a run has logged a model: what clients before MLflow 3 do."""
    fields = call.read_fields()
    run_id = get_run_id(fields)
    site.permit.check_run(run_id)
    model = _parse_model(get_word(fields, "model_json"))
    with site.tag_lock:
        history = _parse_history(site.store.get_run(run_id).data.tags.get(_LOGGED_MODELS))
        site.store.set_tag(run_id, _LOGGED_MODELS, json.dumps([*history, model]))
    return _DONE


def get_history(site: Site, call: Call) -> JsonReply:
    """Return the points of a metric, all of them or a page."""
    fields = call.read_fields()
    key = get_word(fields, "metric_key")
    points = site.store.get_metric_history(get_run_id(fields), key)
    size = get_page_size(fields, max(len(points), 1), max(_MAX_HISTORY, len(points)))
    page = cut_page(points, max_results=size, page_token=find_text(fields, "page_token"), most=size)
    token = {"next_page_token": page.token} if page.token else {}
    return JsonReply(fields={"metrics": [format_metric(Metric(key=key, point=point)) for point in page], **token})


def get_histories(site: Site, call: Call) -> JsonReply:
    """Return the points of one metric in many runs, for those who draw them."""
    run_ids = call.query.get("run_id", [])
    key = call.query.get("metric_key", [""])[0]
    if not run_ids or not key:
        raise TrackingError("GetMetricHistoryBulk request must specify at least one run_id, and a metric_key.")
    if len(run_ids) > _MAX_HISTORIES:
        raise TrackingError(f"GetMetricHistoryBulk request cannot specify more than {_MAX_HISTORIES} run_ids.")
    most = min(get_page_size(call.read_fields(), _MAX_HISTORY, 10**9), _MAX_HISTORY)
    metrics: list[Fields] = []
    for run_id in sorted(run_ids):
        points = sorted(site.store.get_metric_history(run_id, key), key=lambda each: (each.timestamp_ms, each.step))
        metrics += [{**format_metric(Metric(key=key, point=point)), "run_id": run_id} for point in points[:most]]
    return JsonReply(fields={"metrics": metrics[:most]})
