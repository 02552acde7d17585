"""Read page after page of a search."""

from __future__ import annotations

from collections.abc import Callable

from repro.formats.run_meta import Experiment
from repro.kinds import TypeVar
from repro.tracking.entities import MAX_RESULTS, ExperimentQuery, Page, Run, RunQuery
from repro.tracking.store import Store
from repro.values import replace

T = TypeVar("T")


def _collect(ask: Callable[[int, str | None], Page[T]], limit: int | None) -> list[T]:
    found: list[T] = []
    token = None
    while limit is None or len(found) < limit:
        page = ask(MAX_RESULTS if limit is None else min(limit - len(found), MAX_RESULTS), token)
        found += page.items
        token = page.token
        if token is None:
            break
    return found


def find_runs(store: Store, query: RunQuery, *, limit: int | None = None) -> list[Run]:
    """Return the runs that a query finds, all of them unless `limit` says how many. Raises TrackingError."""
    if not query.experiment_ids:
        return []
    return _collect(lambda size, token: store.search_runs(replace(query, max_results=size, page_token=token)), limit)


def find_experiments(store: Store, query: ExperimentQuery, *, limit: int | None = None) -> list[Experiment]:
    """Return the experiments that a query finds. Raises TrackingError."""
    return _collect(
        lambda size, token: store.search_experiments(replace(query, max_results=size, page_token=token)), limit
    )
