"""The `meta.yaml` files of models in MLflow's FileStore layout, as values: registered models, their versions, and the
models that runs have logged. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from repro.errors import ProjectError, TrackingError
from repro.formats.flat_yaml import format_flat, parse_flat
from repro.formats.run_meta import MetricPoint
from repro.values import field, frozen

STAGES = ("None", "Staging", "Production", "Archived")
DELETED_STAGE = "Deleted_Internal"


class ModelStatus(str, Enum):
    """How a logged model stands, equal to MLflow's word for it on the wire."""

    PENDING = "LOGGED_MODEL_PENDING"
    READY = "LOGGED_MODEL_READY"
    FAILED = "LOGGED_MODEL_UPLOAD_FAILED"

    __str__ = str.__str__

    @property
    def number(self) -> int:
        """What `meta.yaml` has in its place."""
        return _STATUSES.index(self) + 1


_STATUSES = tuple(ModelStatus)


@frozen
class ModelMetric:
    """A point of a metric that was measured on a model, in a run, perhaps with a dataset."""

    key: str
    point: MetricPoint
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


@frozen
class LoggedModel:
    """A model that a run has logged; its tags, parameters and metrics lie beside its `meta.yaml`."""

    model_id: str
    experiment_id: str
    name: str
    artifact_location: str
    created_ms: int
    updated_ms: int
    status: ModelStatus = ModelStatus.PENDING
    model_type: str | None = None
    source_run_id: str | None = None
    lifecycle_stage: str = "active"
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[ModelMetric, ...] = ()


@frozen
class RegisteredModel:
    """A name in the registry; its tags and aliases (alias to version) lie beside its `meta.yaml`."""

    name: str
    created_ms: int
    updated_ms: int
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)


@frozen
class ModelVersion:
    """A version of a registered model: `source` is what was registered, `storage_location` where its files are."""

    name: str
    version: int
    created_ms: int
    updated_ms: int
    source: str
    storage_location: str
    description: str | None = None
    stage: str = "None"
    run_id: str | None = None
    run_link: str | None = None
    model_id: str | None = None
    status: str = "READY"
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


def _load(text: str, where: str) -> dict[str, object]:
    try:
        return parse_flat(text, where=where)
    except ProjectError as error:
        raise TrackingError(error.message) from error


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def _find_text(content: Mapping[str, object], key: str) -> str | None:
    return None if content.get(key) is None else str(content[key])


def _parse_status(value: object) -> ModelStatus:
    number = _whole(value)
    if not 1 <= number <= len(_STATUSES):
        raise ValueError(f"{number} is no status")
    return _STATUSES[number - 1]


def format_logged_model_meta(model: LoggedModel) -> str:
    """Return the `meta.yaml` of a logged model."""
    return format_flat(
        {
            "artifact_location": model.artifact_location,
            "creation_timestamp": model.created_ms,
            "experiment_id": model.experiment_id,
            "last_updated_timestamp": model.updated_ms,
            "lifecycle_stage": model.lifecycle_stage,
            "model_id": model.model_id,
            "model_type": model.model_type,
            "name": model.name,
            "source_run_id": model.source_run_id,
            "status": model.status.number,
            "status_message": None,
        }
    )


def parse_logged_model_meta(text: str, *, where: str = "meta.yaml") -> LoggedModel:
    """Return what a logged model's `meta.yaml` says. Raises TrackingError."""
    content = _load(text, where)
    try:
        return LoggedModel(
            model_id=str(content["model_id"]),
            experiment_id=str(content["experiment_id"]),
            name=str(content["name"]),
            artifact_location=str(content["artifact_location"]),
            created_ms=_whole(content["creation_timestamp"]),
            updated_ms=_whole(content["last_updated_timestamp"]),
            status=_parse_status(content["status"]),
            model_type=_find_text(content, "model_type"),
            source_run_id=_find_text(content, "source_run_id"),
            lifecycle_stage=_find_text(content, "lifecycle_stage") or "active",
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(f"`{where}` is no logged model's meta.yaml ({error})") from error


def format_model_metric_line(metric: ModelMetric) -> str:
    """Return a metric of a model as the line that is appended to its file, without a dataset's name of two words."""
    point = metric.point
    words = (metric.dataset_name or "", metric.dataset_digest or "")
    dataset = f" {words[0]} {words[1]}" if all(len(word.split()) == 1 for word in words) else ""
    return f"{point.timestamp_ms} {point.value!r} {point.step} {metric.run_id}{dataset}\n"


def parse_model_metric_line(key: str, line: str) -> ModelMetric:
    """Return the metric of a line with 4 or (with a dataset's name and digest) 6 fields. Raises TrackingError."""
    fields = line.split()
    try:
        if len(fields) not in (4, 6):
            raise ValueError(f"{len(fields)} fields")
        point = MetricPoint(value=float(fields[1]), timestamp_ms=int(fields[0]), step=int(fields[2]))
    except ValueError as error:
        raise TrackingError(f"`{line.strip()}` is no metric line of a model ({error})") from error
    name, digest = fields[4:] or (None, None)
    return ModelMetric(key=key, point=point, run_id=fields[3], dataset_name=name, dataset_digest=digest)


def format_registered_model_meta(model: RegisteredModel) -> str:
    """Return the `meta.yaml` of a registered model, with the fields that MLflow's own leaves empty."""
    return format_flat(
        {
            "creation_timestamp": model.created_ms,
            "deployment_job_id": None,
            "deployment_job_state": None,
            "description": model.description,
            "last_updated_timestamp": model.updated_ms,
            "name": model.name,
            "workspace": "default",
        }
    )


def parse_registered_model_meta(text: str, *, where: str = "meta.yaml") -> RegisteredModel:
    """Return what a registered model's `meta.yaml` says. Raises TrackingError."""
    content = _load(text, where)
    try:
        return RegisteredModel(
            name=str(content["name"]),
            created_ms=_whole(content["creation_timestamp"]),
            updated_ms=_whole(content["last_updated_timestamp"]),
            description=_find_text(content, "description"),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(f"`{where}` is no registered model's meta.yaml ({error})") from error


def format_model_version_meta(version: ModelVersion) -> str:
    """Return the `meta.yaml` of a model version, with the fields that MLflow's own leaves empty."""
    return format_flat(
        {
            "creation_timestamp": version.created_ms,
            "current_stage": version.stage,
            "deployment_job_state": None,
            "description": version.description,
            "last_updated_timestamp": version.updated_ms,
            "model_id": version.model_id,
            "name": version.name,
            "run_id": version.run_id,
            "run_link": version.run_link,
            "source": version.source,
            "status": version.status,
            "status_message": None,
            "storage_location": version.storage_location,
            "user_id": None,
            "version": version.version,
            "workspace": "default",
        }
    )


def parse_model_version_meta(text: str, *, where: str = "meta.yaml") -> ModelVersion:
    """Return what a model version's `meta.yaml` says. Raises TrackingError."""
    content = _load(text, where)
    try:
        source = str(content["source"])
        return ModelVersion(
            name=str(content["name"]),
            version=_whole(content["version"]),
            created_ms=_whole(content["creation_timestamp"]),
            updated_ms=_whole(content["last_updated_timestamp"]),
            source=source,
            storage_location=_find_text(content, "storage_location") or source,
            description=_find_text(content, "description"),
            stage=_find_text(content, "current_stage") or "None",
            run_id=_find_text(content, "run_id"),
            run_link=_find_text(content, "run_link"),
            model_id=_find_text(content, "model_id"),
            status=_find_text(content, "status") or "READY",
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(f"`{where}` is no model version's meta.yaml ({error})") from error
