"""Models as the JSON of MLflow's REST API 2.0, both ways. A text that is empty may be missing."""

from __future__ import annotations

from collections.abc import Iterable

from repro.errors import TrackingError
from repro.formats.model_meta import LoggedModel, ModelMetric, ModelStatus, ModelVersion, RegisteredModel
from repro.tracking.wire import (
    Fields,
    find_text,
    find_whole,
    format_number,
    format_pairs,
    get_text,
    get_whole,
    list_fields,
    list_texts,
    parse_metric,
    parse_pairs,
)

_STATUSES = tuple(ModelStatus)


def _drop_none(fields: Fields) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None and value != []}


def parse_model_status(value: object) -> ModelStatus:
    """Return the status of a word or a number. Raises TrackingError."""
    try:
        return (
            _STATUSES[value - 1] if isinstance(value, int) and 1 <= value <= len(_STATUSES) else ModelStatus(str(value))
        )
    except ValueError as error:
        raise TrackingError(f"`{value}` is no status of a model", hint=", ".join(ModelStatus)) from error


def find_model_metric(fields: Fields, run_id: str) -> tuple[str, ModelMetric] | None:
    """Return the model that a metric was measured on and its point; None where it names none. Raises TrackingError."""
    model_id = find_text(fields, "model_id")
    if not model_id:
        return None
    metric = parse_metric(fields)
    return model_id, ModelMetric(
        key=metric.key,
        point=metric.point,
        run_id=run_id,
        dataset_name=find_text(fields, "dataset_name") or None,
        dataset_digest=find_text(fields, "dataset_digest") or None,
    )


def _format_model_metric(model_id: str, metric: ModelMetric) -> Fields:
    return _drop_none(
        {
            "key": metric.key,
            "value": format_number(metric.point.value),
            "timestamp": metric.point.timestamp_ms,
            "step": metric.point.step,
            "dataset_name": metric.dataset_name,
            "dataset_digest": metric.dataset_digest,
            "model_id": model_id,
            "run_id": metric.run_id,
        }
    )


def format_logged_model(model: LoggedModel, *, artifact_uri: str) -> Fields:
    """Return a logged model whose files clients find at `artifact_uri`."""
    return {
        "info": _drop_none(
            {
                "model_id": model.model_id,
                "experiment_id": model.experiment_id,
                "name": model.name,
                "creation_timestamp_ms": model.created_ms,
                "last_updated_timestamp_ms": model.updated_ms,
                "artifact_uri": artifact_uri,
                "status": str(model.status),
                "model_type": model.model_type or "",
                "source_run_id": model.source_run_id,
                "tags": format_pairs(model.tags),
            }
        ),
        "data": _drop_none(
            {
                "params": format_pairs(model.params),
                "metrics": [_format_model_metric(model.model_id, each) for each in model.metrics],
            }
        ),
    }


def format_model_version(version: ModelVersion, *, source: str) -> Fields:
    """Return a version that was registered from `source`."""
    return _drop_none(
        {
            "name": version.name,
            "version": str(version.version),
            "creation_timestamp": version.created_ms,
            "last_updated_timestamp": version.updated_ms,
            "current_stage": version.stage,
            "description": version.description or "",
            "source": source,
            "run_id": version.run_id or "",
            "run_link": version.run_link or "",
            "status": version.status,
            "model_id": version.model_id,
            "tags": format_pairs(version.tags),
            "aliases": list(version.aliases),
        }
    )


def format_registered_model(model: RegisteredModel, latest_versions: Iterable[Fields]) -> Fields:
    """Return a registered model with the newest version of each stage."""
    return _drop_none(
        {
            "name": model.name,
            "creation_timestamp": model.created_ms,
            "last_updated_timestamp": model.updated_ms,
            "description": model.description,
            "latest_versions": list(latest_versions),
            "tags": format_pairs(model.tags),
            "aliases": [{"alias": alias, "version": str(number)} for alias, number in model.aliases.items()],
        }
    )


def _get_object(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    if not isinstance(value, dict):
        raise TrackingError(f"the server's answer has no `{key}`")
    return value


def parse_logged_model(fields: Fields) -> LoggedModel:
    """Return a logged model; `artifact_location` is where clients find its files. Raises TrackingError."""
    info = _get_object(fields, "info")
    data = fields.get("data")
    params = list_fields(data, "params") if isinstance(data, dict) else []
    return LoggedModel(
        model_id=get_text(info, "model_id"),
        experiment_id=find_text(info, "experiment_id") or "",
        name=find_text(info, "name") or "",
        artifact_location=find_text(info, "artifact_uri") or "",
        created_ms=find_whole(info, "creation_timestamp_ms") or 0,
        updated_ms=find_whole(info, "last_updated_timestamp_ms") or 0,
        status=parse_model_status(info.get("status") or ModelStatus.PENDING),
        model_type=find_text(info, "model_type") or None,
        source_run_id=find_text(info, "source_run_id") or None,
        tags=parse_pairs(list_fields(info, "tags")),
        params=parse_pairs(params),
    )


def _find_model_id(source: str) -> str | None:
    """Return the logged model that a version was registered from: MLflow's SQL store does not say it otherwise."""
    name = source.removeprefix("models:/")
    return name if name != source and "/" not in name and "@" not in name else None


def parse_model_version(fields: Fields) -> ModelVersion:
    """Return a version; where its files are is asked for by itself. Raises TrackingError."""
    source = find_text(fields, "source") or ""
    return ModelVersion(
        name=get_text(fields, "name"),
        version=get_whole(fields, "version"),
        created_ms=find_whole(fields, "creation_timestamp") or 0,
        updated_ms=find_whole(fields, "last_updated_timestamp") or 0,
        source=source,
        storage_location=source,
        description=find_text(fields, "description") or None,
        stage=find_text(fields, "current_stage") or "None",
        run_id=find_text(fields, "run_id") or None,
        run_link=find_text(fields, "run_link") or None,
        model_id=find_text(fields, "model_id") or _find_model_id(source),
        status=find_text(fields, "status") or "READY",
        tags=parse_pairs(list_fields(fields, "tags")),
        aliases=tuple(sorted(list_texts(fields, "aliases"))),
    )


def parse_registered_model(fields: Fields) -> RegisteredModel:
    """Return a registered model. Raises TrackingError."""
    aliases = list_fields(fields, "aliases")
    return RegisteredModel(
        name=get_text(fields, "name"),
        created_ms=find_whole(fields, "creation_timestamp") or 0,
        updated_ms=find_whole(fields, "last_updated_timestamp") or 0,
        description=find_text(fields, "description") or None,
        tags=parse_pairs(list_fields(fields, "tags")),
        aliases={get_text(each, "alias"): get_whole(each, "version") for each in aliases},
    )
