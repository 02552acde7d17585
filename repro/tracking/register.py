"""Register a model under a name: `repro.register_model`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from repro.errors import TrackingExistsError, TrackingNotFoundError
from repro.formats.model_meta import ModelVersion
from repro.formats.model_uri import (
    AliasWish,
    LoggedModelWish,
    StageWish,
    VersionWish,
    format_model_uri,
    parse_model_uri,
)
from repro.tracking.active_experiment import get_active_client
from repro.tracking.client import Client
from repro.tracking.model_source import find_number, find_run_model_id, parse_run_uri
from repro.tracking.model_store import NewVersion

_MLMODEL = "MLmodel"


def _has_model(client: Client, run_id: str, path: str) -> bool:
    names = (each.path.rpartition("/")[2] for each in client.list_artifacts(run_id, path))
    return _MLMODEL in names


def _plan_run_model(client: Client, uri: str, run_id: str, path: str) -> tuple[str, str, str | None]:
    """Return source, run and model of what a run has logged, as an artifact or as a model of that name."""
    path = path.strip("/")
    if _has_model(client, run_id, path):
        root = client.get_run(run_id).info.artifact_uri.rstrip("/")
        return f"{root}/{path}" if path else root, run_id, None
    model_id = find_run_model_id(client.models, run_id, path)
    if model_id is None:
        raise TrackingNotFoundError(
            f"`{uri}` is no model: the run has neither an artifact `{path}/{_MLMODEL}` nor a logged model `{path}`",
            hint="`repro.log_model` logs one",
        )
    return f"models:/{model_id}", run_id, model_id


def _plan_source(client: Client, uri: str) -> tuple[str, str | None, str | None]:
    """Return what is registered for a URI: a source that stays what it is, the run and the model behind it."""
    if run := parse_run_uri(uri):
        return _plan_run_model(client, uri, *run)
    scheme = urlsplit(uri).scheme
    if scheme == "models":
        wish = parse_model_uri(uri)
        if isinstance(wish, LoggedModelWish):
            return uri, client.get_logged_model(wish.model_id).source_run_id, wish.model_id
        if isinstance(wish, AliasWish | StageWish):
            wish = VersionWish(name=wish.name, number=find_number(client.registry, wish))
        return format_model_uri(wish), None, None
    return (uri if scheme else Path(uri).expanduser().absolute().as_uri()), None, None


def register_model(
    model_uri: str,
    name: str,
    await_registration_for: int | None = None,
    *,
    tags: Mapping[str, object] | None = None,
) -> ModelVersion:
    """Register a model as the next version of a name, which is made where it is new, and return the version.

    `model_uri` is what `repro.load_model` takes. The version is ready at once: `await_registration_for` is MLflow's
    word and changes nothing. Raises TrackingNotFoundError where there is no such model, and other TrackingErrors.
    """
    client = get_active_client()
    source, run_id, model_id = _plan_source(client, model_uri)
    registry = client.registry
    with suppress(TrackingExistsError):
        registry.create_model(name, description=None, tags={})
    texts = {str(key): str(value) for key, value in (tags or {}).items()}
    return registry.create_version(NewVersion(name=name, source=source, run_id=run_id, model_id=model_id, tags=texts))
