"""A store and a server over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Api

from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """An empty store."""
    return FileStore(tmp_path / "mlruns")


@pytest.fixture
def api(store: FileStore) -> Iterator[Api]:
    """A server over it that lets everybody in."""
    endpoint = serve_in_background(store, token=None)
    yield Api(endpoint.uri)
    endpoint.close()
