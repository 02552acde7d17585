"""Deeds on logged models, the models of MLflow 3's runs."""

from __future__ import annotations

from repro.errors import TrackingError
from repro.formats.model_meta import LoggedModel
from repro.tracking.model_search import DatasetFilter, find_logged_models, parse_logged_model_order
from repro.tracking.model_wire import format_logged_model, parse_model_status
from repro.tracking.pages import cut_page
from repro.tracking.server.calls import Call, get_page_size, get_word
from repro.tracking.server.limits import cut_params, cut_tags
from repro.tracking.server.locations import tell_model
from repro.tracking.server.replies import JsonReply
from repro.tracking.server.site import Site
from repro.tracking.wire import Fields, find_text, list_fields, list_texts, parse_pairs

_DONE = JsonReply(fields={})
_MAX_FOUND = 1000


def _format(model: LoggedModel) -> Fields:
    return {"model": format_logged_model(model, artifact_uri=tell_model(model))}


def _check_change(site: Site, model: LoggedModel) -> None:
    if model.source_run_id:
        site.permit.check_run(model.source_run_id)


def create_model(site: Site, call: Call) -> JsonReply:
    """Make a model that is pending; its files come after."""
    fields = call.read_fields()
    run_id = find_text(fields, "source_run_id") or None
    if run_id:
        site.permit.check_run(run_id)
    experiment = site.store.get_experiment(get_word(fields, "experiment_id"))
    if experiment.lifecycle_stage != "active":
        raise TrackingError(f"the experiment `{experiment.experiment_id}` is deleted")
    model = site.models.create(
        site.store.root / experiment.experiment_id,
        name=find_text(fields, "name"),
        artifact_root=experiment.artifact_location,
        source_run_id=run_id,
        model_type=find_text(fields, "model_type") or None,
        params=cut_params(parse_pairs(list_fields(fields, "params"))),
        tags=cut_tags(parse_pairs(list_fields(fields, "tags"))),
    )
    return JsonReply(fields=_format(model))


def get_model(site: Site, call: Call) -> JsonReply:
    """Return a model."""
    return JsonReply(fields=_format(site.models.get(call.places["model_id"])))


def finalize_model(site: Site, call: Call) -> JsonReply:
    """Say that a model is whole, or that it failed."""
    model = site.models.get(call.places["model_id"])
    _check_change(site, model)
    status = parse_model_status(call.read_fields().get("status"))
    return JsonReply(fields=_format(site.models.finalize(model.model_id, status)))


def delete_model(site: Site, call: Call) -> JsonReply:
    """Mark a model as deleted."""
    model = site.models.get(call.places["model_id"])
    _check_change(site, model)
    site.models.delete(model.model_id)
    return _DONE


def set_tags(site: Site, call: Call) -> JsonReply:
    """Set tags of a model."""
    model = site.models.get(call.places["model_id"])
    _check_change(site, model)
    tags = cut_tags(parse_pairs(list_fields(call.read_fields(), "tags")))
    return JsonReply(fields=_format(site.models.set_tags(model.model_id, tags)))


def delete_tag(site: Site, call: Call) -> JsonReply:
    """Remove a tag of a model."""
    model = site.models.get(call.places["model_id"])
    _check_change(site, model)
    site.models.delete_tag(model.model_id, call.places["tag_key"])
    return _DONE


def log_params(site: Site, call: Call) -> JsonReply:
    """Keep parameters of a model."""
    model = site.models.get(call.places["model_id"])
    _check_change(site, model)
    site.models.log_params(model.model_id, cut_params(parse_pairs(list_fields(call.read_fields(), "params"))))
    return _DONE


def _parse_datasets(fields: Fields) -> list[DatasetFilter]:
    return [
        DatasetFilter(name=get_word(each, "dataset_name"), digest=find_text(each, "dataset_digest") or None)
        for each in list_fields(fields, "datasets")
    ]


def search_models(site: Site, call: Call) -> JsonReply:
    """Return a page of models, the newest first where no order is given."""
    fields = call.read_fields()
    orders = [
        parse_logged_model_order(get_word(each, "field_name"), ascending=each.get("ascending") is not False)
        for each in list_fields(fields, "order_by")
    ]
    models = site.models.list_models(list_texts(fields, "experiment_ids"))
    found = find_logged_models(models, find_text(fields, "filter") or "", orders, _parse_datasets(fields))
    size = get_page_size(fields, 100, _MAX_FOUND)
    page = cut_page(found, max_results=size, page_token=find_text(fields, "page_token"), most=_MAX_FOUND)
    token = {"next_page_token": page.token} if page.token else {}
    return JsonReply(fields={"models": [_format(each)["model"] for each in page], **token})
