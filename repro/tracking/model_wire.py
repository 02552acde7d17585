"""Models as the JSON of MLflow's REST API 2.0: what the server writes. A text that is empty may be missing."""

from __future__ import annotations

from collections.abc import Iterable

from repro.errors import TrackingError
from repro.formats.model_meta import LoggedModel, ModelMetric, ModelStatus, ModelVersion, RegisteredModel
from repro.tracking.wire import Fields, find_text, format_number, format_pairs, parse_metric

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
