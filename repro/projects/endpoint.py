"""Let a run's processes log with whatever MLflow they have: MLflow's REST API over the run's directory, for its time.

It listens on loopback, for those who have the token that the run's processes get, and lets them change that run alone.
Repro's own calls write the directory's files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from repro import settings
from repro.tracking.file_store import FileStore
from repro.tracking.store import Store
from repro.values import frozen


@frozen
class Tracking:
    """How a run's processes reach its store: the tracking URI, and what else their environment says of it."""

    uri: str
    environ: Mapping[str, str]


def _find_own(store: Store, environ: Mapping[str, str]) -> Tracking:
    """Return the user's own server as the user has named it, credentials included."""
    return Tracking(uri=settings.find_tracking_uri(environ) or store.uri, environ=environ)


@contextmanager
def serving(store: Store, run_id: str, environ: Mapping[str, str]) -> Iterator[Tracking]:
    """Serve a run's directory for the block; where its store is a server already, nothing is served."""
    if not isinstance(store, FileStore):
        yield _find_own(store, environ)
        return
    from repro.tracking.server import serve_in_background

    token = os.urandom(32).hex()
    endpoint = serve_in_background(store, token=token, allowed_run=run_id)
    try:
        yield Tracking(
            uri=endpoint.uri,
            environ=settings.name_endpoint(environ, uri=endpoint.uri, token=token, store_uri=store.uri),
        )
    finally:
        endpoint.close()
