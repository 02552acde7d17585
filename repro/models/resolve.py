"""Find a model by its URI: a directory, what a run has logged, or what a server's registry names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import ModelError, ServerUnavailableError, TrackingError, TrackingRefusedError, UsageError
from repro.formats.direct_url import clean_url
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.store import Store

_SCHEMES = ("runs", "models", "mlflow-artifacts")
_FORMS = "a directory, `runs:/RUN_ID/PATH`, `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `models:/m-ID`"


@frozen
class FoundModel:
    """A model's directory on this machine, what the user calls it, and whether a server has sent or named it."""

    path: Path
    name: str
    is_foreign: bool = False


def _say_nothing(sentence: str) -> None:
    pass


def _find_tracked(uri: str, store: Store | None, report: Callable[[str], None]) -> FoundModel:
    from repro.models.downloaded import bring_model
    from repro.tracking.client import Client
    from repro.tracking.model_source import find_files
    from repro.tracking.model_store import HeldFiles

    client = Client()
    name = clean_url(uri) if urlsplit(uri).netloc else uri
    found = find_files(client.models, client.registry, uri)
    if isinstance(found.files, HeldFiles):
        path = found.files.path
    else:
        path = bring_model(found.files, name=name, store=store, report=report)
    return FoundModel(path=path, name=name, is_foreign=found.is_foreign)


def _find_scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme
    except ValueError:  # brackets that are no address
        return ""


def _explain(uri: str, error: TrackingError) -> ModelError:
    """Return why a model cannot be had: the store is away or refuses us, or there is no such model."""
    what = "cannot be had now" if isinstance(error, ServerUnavailableError) else "cannot be had"
    hint = error.hint
    if isinstance(error, ServerUnavailableError) and hint is None:
        hint = "MLFLOW_TRACKING_URI (and MLFLOW_REGISTRY_URI) name the server: is it there, and can it be reached?"
    elif isinstance(error, TrackingRefusedError) and hint is None:
        hint = "MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN, say who asks"
    return ModelError(f"`{clean_url(uri) if urlsplit(uri).netloc else uri}` {what}: {error.message}", hint=hint)


def find_model(
    uri: str,
    *,
    run_id: str | None = None,
    store: Store | None = None,
    report: Callable[[str], None] = _say_nothing,
) -> FoundModel:
    """Return the model that a URI names; with `run_id`, `uri` is a path of that run's artifacts.

    What lies on this machine is used where it lies; what a server hands out is downloaded once into the `store`, else
    for as long as this process. Raises ModelError where there is none, UsageError for a URI of no known kind.
    """
    if run_id is not None:
        uri = f"runs:/{run_id}/{uri.strip('/')}"
    if not uri or "\0" in uri:
        raise UsageError(f"`{uri!r:.60}` names no model", hint=_FORMS)
    scheme = _find_scheme(uri)
    if scheme in _SCHEMES:
        try:
            return _find_tracked(uri, store, report)
        except TrackingError as error:
            raise _explain(uri, error) from error
    if scheme == "file":
        return FoundModel(path=Path(unquote(urlsplit(uri).path)), name=uri)
    if len(scheme) > 1 and not Path(uri).exists():
        raise UsageError(f"`{clean_url(uri)}` is no model that can be had", hint=_FORMS)
    return FoundModel(path=Path(os.path.expanduser(uri)), name=uri)
