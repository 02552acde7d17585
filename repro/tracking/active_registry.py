"""Which registry names the models of a script: what it has set, else a variable, else that of the tracking URI."""

from __future__ import annotations

import os
from pathlib import Path

from repro import settings
from repro.tracking.active_experiment import get_active_client
from repro.tracking.store import find_directory, open_store


def set_registry_uri(uri: str | os.PathLike[str]) -> None:
    """Take registered models from another store from now on: a directory, a `file:` URI, or a server's `http(s)://`.

    Processes that are started from now on get it as MLFLOW_REGISTRY_URI; an empty one is the tracking URI again.
    Raises TrackingError for what is no store's.
    """
    text = os.fspath(uri)
    if not text:
        settings.set_registry_uri(None)
        return
    store = open_store(text, cwd=Path.cwd())
    settings.set_registry_uri(store.uri if find_directory(text, cwd=Path.cwd()) is not None else text)


def get_registry_uri() -> str:
    """Return the registry's URI: what was set, else MLFLOW_REGISTRY_URI, else the tracking URI."""
    return get_active_client().registry_uri
