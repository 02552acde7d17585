"""Runs by the beginning of their id."""

from __future__ import annotations

from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.errors import ServerUnavailableError, TrackingError, TrackingNotFoundError, UsageError
from repro.tracking.entities import ExperimentQuery, Page, Run, RunQuery
from repro.tracking.file_store import FileStore
from repro.tracking.run_ids import complete_run_id


class Server:
    """As much of a server as is asked here, over a directory; `refusal` is what it says to a filter."""

    uri = "https://example.org"

    def __init__(self, store: FileStore, refusal: TrackingError | None = None) -> None:
        self._store = store
        self._refusal = refusal

    def search_experiments(self, query: ExperimentQuery) -> Page[object]:
        return self._store.search_experiments(query)  # type: ignore[return-value]

    def search_runs(self, query: RunQuery) -> Page[Run]:
        if query.filter and self._refusal:
            raise self._refusal
        return self._store.search_runs(query)


@pytest.mark.parametrize("refusal", [None, TrackingError("Invalid attribute key 'run_id' specified.")])
def test_a_server_finds_them_also_where_it_has_no_such_filter(tmp_path: Path, refusal: TrackingError | None) -> None:
    store = ReadableStore(tmp_path / "mlruns")
    run_id = [store.start(), store.start()][0]
    store.delete_run(run_id)
    server = Server(store, refusal)
    assert complete_run_id(server, run_id[:20]) == run_id  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="2 runs begin with ``"):
        complete_run_id(server, "")  # type: ignore[arg-type]
    with pytest.raises(TrackingNotFoundError, match=r"no run in `https://example\.org` begins with `xyz`"):
        complete_run_id(server, "xyz")  # type: ignore[arg-type]


def test_a_server_that_does_not_answer_is_not_asked_for_all_its_runs(tmp_path: Path) -> None:
    store = ReadableStore(tmp_path / "mlruns")
    run_id = store.start()
    server = Server(store, ServerUnavailableError("away"))
    with pytest.raises(TrackingError, match="away"):
        complete_run_id(server, run_id[:6])  # type: ignore[arg-type]
