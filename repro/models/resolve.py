"""Find a model by its URI: a directory, what a run has logged, or what a server's registry names."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import ModelError, TrackingError, UsageError
from repro.formats.direct_url import clean_url
from repro.tracking.artifact_uri import bring
from repro.tracking.client import Client

_SCHEMES = ("runs", "models", "mlflow-artifacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model's directory on this machine, what the user calls it, and whether a server has sent it."""

    path: Path
    name: str
    is_foreign: bool = False


def _make_room() -> Path:
    """Return a new directory that is there until this process ends."""
    directory = tempfile.mkdtemp(prefix="repro-model-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _is_of_server(client: Client) -> bool:
    return urlsplit(client.store.uri).scheme in ("http", "https")


def find_model(uri: str, *, run_id: str | None = None) -> FoundModel:
    """Return the model that a URI names; with `run_id`, `uri` is a path of that run's artifacts.

    Raises ModelError where there is none, UsageError for a URI of no known kind, and TrackingError.
    """
    if run_id is not None:
        uri = f"runs:/{run_id}/{uri.strip('/')}"
    scheme = urlsplit(uri).scheme
    if scheme in _SCHEMES:
        client = Client()
        try:
            path = bring(client, uri, _make_room())
        except TrackingError as error:
            raise ModelError(f"`{uri}` cannot be had: {error.message}", hint=error.hint) from error
        return FoundModel(path=Path(path), name=uri, is_foreign=_is_of_server(client))
    if scheme == "file":
        return FoundModel(path=Path(unquote(urlsplit(uri).path)), name=uri)
    if len(scheme) > 1 and not Path(uri).exists():
        raise UsageError(
            f"`{clean_url(uri)}` is no model that can be had",
            hint="a directory, `runs:/RUN_ID/PATH`, `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `models:/m-ID`",
        )
    return FoundModel(path=Path(uri).expanduser(), name=uri)
