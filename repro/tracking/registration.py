"""What a new version of a registered model is made of, in a directory of runs."""

from __future__ import annotations

from repro.errors import TrackingError
from repro.formats.model_meta import ModelVersion
from repro.tracking.file_store import FileStore
from repro.tracking.logged_models import LoggedModels
from repro.tracking.model_store import NewVersion
from repro.tracking.registry import Registry

_MODEL_VERSIONS = "mlflow.modelVersions"


def find_storage(
    store: FileStore, registry: Registry, models: LoggedModels, source: str
) -> tuple[str | None, str | None]:
    """Return where the files are that a version is registered from, and the run that made them; None where it is a URI
    or a path that stands for itself.

    `models:/<id>` is a logged model, `models:/<name>/<version>` another version, `runs:/<run>/<path>` a run's artifact.
    Raises TrackingError.
    """
    scheme, _, rest = source.partition(":/")
    parts = rest.strip("/").split("/")
    if scheme == "models" and len(parts) == 1:
        model = models.get(parts[0])
        return model.artifact_location, model.source_run_id
    if scheme == "models" and len(parts) == 2 and parts[1].isdecimal():
        other = registry.get_version(parts[0], int(parts[1]))
        return other.storage_location, other.run_id
    if scheme == "runs" and len(parts) > 1:
        return "/".join([store.get_info(parts[0]).artifact_uri, *parts[1:]]), parts[0]
    if source.partition(":")[0].lower() in ("models", "runs"):
        raise TrackingError(f"`{source}` is no source of a model version")
    return None, None


def make_version(new: NewVersion, models: LoggedModels, location: str, source_run_id: str | None) -> ModelVersion:
    """Return the version that is to be kept, its number left open. Raises TrackingError."""
    if new.model_id and not source_run_id:
        source_run_id = models.get(new.model_id).source_run_id
    return ModelVersion(
        name=new.name,
        version=0,
        created_ms=0,
        updated_ms=0,
        source=new.source,
        storage_location=location,
        description=new.description,
        run_id=new.run_id or source_run_id,
        run_link=new.run_link,
        model_id=new.model_id,
        tags=dict(new.tags),
    )


def note_version(models: LoggedModels, version: ModelVersion) -> None:
    """Note in a logged model's tag that it was registered, as MLflow does."""
    import json

    if not version.model_id:
        return
    model = models.get(version.model_id)
    try:
        noted = json.loads(model.tags.get(_MODEL_VERSIONS, "[]"))
    except ValueError:
        noted = []
    noted = [*(noted if isinstance(noted, list) else []), {"name": version.name, "version": version.version}]
    models.set_tags(version.model_id, {_MODEL_VERSIONS: json.dumps(noted)})
