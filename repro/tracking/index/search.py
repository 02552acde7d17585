"""Search the runs of a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from heapq import merge
from itertools import islice
from pathlib import Path

from repro.tracking.entities import RUN_NAME, Dataset, Page, Run, RunQuery
from repro.tracking.index.database import Database, Known, Notes, Row, is_index_error, open_to_read, write_down
from repro.tracking.index.reading import iterate_runs, read_column, read_dataset_column, read_whole, refresh
from repro.tracking.index.signs import Folder
from repro.tracking.index.texts import INPUTS, METRICS, PARAMS, TAGS, read_value
from repro.tracking.search.clauses import RUNS, Clause, Entity, Order, Value
from repro.tracking.search.find import read_datasets_key
from repro.tracking.search.grammar import parse_filter, parse_orders
from repro.tracking.search.match import make_test
from repro.tracking.search.order import make_rank
from repro.tracking.search.paging import check_max_results, format_token, parse_token

_MANY = 2000  # runs; of fewer, only their own values are loaded
_AT_LEAST = 200  # runs that are looked at together
_IN_ALL_ROWS = ("start_time", "run_id")  # attributes that are known before a run is looked at
_PARTS = {Entity.METRIC: METRICS, Entity.PARAM: PARAMS, Entity.TAG: TAGS}


class _StartMovedError(Exception):
    """A run has another start time than the index says."""


class _Runs:
    """The runs of some folders, and their values, read where and when they are asked for."""

    def __init__(self, folders: Sequence[Folder], index: Database, notes: Notes) -> None:
        self._folders = {folder.name: folder for folder in folders}
        self._index = index
        self._notes = notes
        self._columns: dict[tuple[str, str, str], dict[int, Known]] = {}

    def iterate(self) -> Iterator[Row]:
        """Yield all runs, the newest first, then by run id."""
        streams = [iterate_runs(folder, self._index, self._notes) for folder in self._folders.values()]
        return merge(*streams, key=lambda row: (-(row.start_time or 0), row.run_id))

    def _group(self, rows: Iterable[Row]) -> Iterator[tuple[Folder, list[Row]]]:
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.folder, []).append(row)
        for name, own in groups.items():
            yield self._folders[name], own

    def refresh(self, rows: Sequence[Row]) -> list[Row]:
        """Return those that are runs now, whole, in their order; whole rows have been looked at already.

        Raises _StartMovedError.
        """
        fresh = {row.number: row for row in rows if row.run_name is not None}
        for folder, own in self._group(row for row in rows if row.run_name is None):
            fresh.update((row.number, row) for row in refresh(folder, own, self._index, self._notes))
        found = [(row, fresh[row.number]) for row in rows if row.number in fresh]
        if any(row.start_time != now.start_time for row, now in found):
            raise _StartMovedError
        return [now for _, now in found]

    def refresh_all(self) -> list[Row]:
        """Return all runs, whole, the newest first, whatever the index says."""
        rows: list[Row] = []
        for folder, own in self._group(self.iterate()):
            light = [row for row in own if row.run_name is None]
            rows += (row for row in own if row.run_name is not None)
            rows += refresh(folder, light, self._index, self._notes)
        return sorted(rows, key=lambda row: (-(row.start_time or 0), row.run_id))

    def _load(self, folder: Folder, rows: Sequence[Row], part: str, key: str) -> dict[int, Known]:
        """Return what the index knows of a key, of the few or of all."""
        if len(rows) < _MANY:
            return self._index.load_values([row.number for row in rows], part, key)
        if (folder.name, part, key) not in self._columns:
            self._columns[folder.name, part, key] = self._index.load_column(folder.name, part, key)
        return self._columns[folder.name, part, key]

    def _read_part(self, rows: Iterable[Row], part: str, key: str) -> dict[int, str | None]:
        found: dict[int, str | None] = {}
        for folder, own in self._group(rows):
            found.update(read_column(folder, own, part, key, self._load(folder, own, part, key), self._notes))
        return found

    def _read_attribute(self, rows: Sequence[Row], key: str) -> list[Value | None]:
        values = [getattr(row, key) for row in rows]
        if key == "run_name" and "" in values:
            tags = self._read_part([row for row in rows if not row.run_name], TAGS, RUN_NAME)
            return [value or tags.get(row.number) or "" for value, row in zip(values, rows, strict=True)]
        return values

    def read(self, rows: Sequence[Row], entity: Entity, key: str) -> list[Value | None]:
        """Return what each run has for a key."""
        if entity is Entity.ATTRIBUTE:
            return self._read_attribute(rows, key)
        part = _PARTS[entity]
        texts = self._read_part(rows, part, key)
        return [read_value(part, texts.get(row.number)) for row in rows]

    def read_datasets(self, rows: Sequence[Row]) -> list[tuple[Dataset, ...]]:
        """Return the datasets of each run."""
        found: dict[int, tuple[Dataset, ...]] = {}
        for folder, own in self._group(rows):
            found.update(read_dataset_column(folder, own, self._load(folder, own, INPUTS, ""), self._notes))
        return [found[row.number] for row in rows]

    def read_runs(self, rows: Sequence[Row]) -> tuple[Run, ...]:
        """Return runs with all that was logged to them."""
        known = self._index.load_entries([row.number for row in rows])
        return tuple(read_whole(self._folders[row.folder], row, known[row.number], self._notes) for row in rows)


def _select(rows: list[Row], clause: Clause, runs: _Runs) -> list[Row]:
    test = make_test(clause)
    if clause.entity is Entity.DATASET:
        datasets = runs.read_datasets(rows)
        return [
            row for row, own in zip(rows, datasets, strict=True) if any(map(test, read_datasets_key(own, clause.key)))
        ]
    values = runs.read(rows, clause.entity, clause.key)
    return [row for row, value in zip(rows, values, strict=True) if test(value)]


def _match(rows: list[Row], query: RunQuery, clauses: Sequence[Clause], runs: _Runs) -> list[Row]:
    """Return the rows that a query finds: what looks at the fewest files first."""
    own = [clause for clause in clauses if clause.entity is Entity.ATTRIBUTE]
    others = [clause for clause in clauses if clause.entity is not Entity.ATTRIBUTE]
    if own:
        rows = runs.refresh(rows)
        for clause in own:
            rows = _select(rows, clause, runs)
    for clause in others:
        rows = _select(rows, clause, runs)
    return [row for row in (rows if own else runs.refresh(rows)) if query.view.shows(row.stage or "")]


def _sort(rows: list[Row], order: Order, runs: _Runs) -> list[Row]:
    """Sort runs; ties stay in the order they have."""
    ranks = map(make_rank(ascending=order.ascending), runs.read(rows, order.entity, order.key))
    places = dict(zip((row.number for row in rows), ranks, strict=True))
    return sorted(rows, key=lambda row: places[row.number], reverse=not order.ascending)


def _arrange(orders: Sequence[Order], runs: _Runs, *, is_sure: bool) -> Iterable[Row]:
    """Return all runs in the order asked for."""
    if any(order.entity is Entity.ATTRIBUTE and order.key not in _IN_ALL_ROWS for order in orders) or is_sure:
        rows = runs.refresh_all()
    elif orders:
        rows = list(runs.iterate())
    else:
        return runs.iterate()
    for order in reversed(orders):
        rows = _sort(rows, order, runs)
    return rows


def _skip(rows: Iterable[Row], query: RunQuery) -> tuple[Iterator[Row], int, int]:
    """Return what comes after the page before, how many of it to pass over, and how many were given before."""
    if not query.page_token:
        return iter(rows), 0, 0
    last, offset = parse_token(query.page_token, query)
    rows = list(rows)
    place = next((number for number, row in enumerate(rows) if row.run_id == last), None)
    return (iter(rows), offset, offset) if place is None else (iter(rows[place + 1 :]), 0, offset)


def _find(
    query: RunQuery, clauses: Sequence[Clause], orders: Sequence[Order], runs: _Runs, *, is_sure: bool = False
) -> Page[Run]:
    """Look at runs in the order asked for, some at a time, until the page is full."""
    rows, passed, before = _skip(_arrange(orders, runs, is_sure=is_sure), query)
    end = passed + query.max_results
    found: list[Row] = []
    size = end + 1
    while len(found) <= end and (some := list(islice(rows, size))):
        found += _match(some, query, clauses, runs)
        size = max(2 * size, _AT_LEAST)
    part = found[passed:end]
    token = format_token(part[-1].run_id, before + len(part), query) if len(found) > end else None
    return Page(items=runs.read_runs(part), token=token)


def _find_surely(query: RunQuery, clauses: Sequence[Clause], orders: Sequence[Order], runs: _Runs) -> Page[Run]:
    try:
        return _find(query, clauses, orders, runs)
    except _StartMovedError:
        return _find(query, clauses, orders, runs, is_sure=True)


@contextmanager
def _open_folders(root: Path, names: Iterable[str]) -> Iterator[list[Folder]]:
    """Yield the directories that are there."""
    with ExitStack() as stack:
        folders = []
        for name in dict.fromkeys(names):
            with suppress(OSError):
                folders.append(stack.enter_context(closing(Folder(os.fspath(root), name))))
        yield folders


def search_runs(root: Path, names: Sequence[str], query: RunQuery) -> Page[Run]:
    """Return a query's page of the runs of a store's experiments, which lie in the directories `names` of `root`.

    Raises TrackingError for a wrong query.
    """
    clauses, orders = parse_filter(query.filter, RUNS), parse_orders(query.order_by, RUNS)
    check_max_results(query.max_results)
    notes = Notes()
    with _open_folders(root, names) as folders:
        try:
            with open_to_read(root) as index:
                page = _find_surely(query, clauses, orders, _Runs(folders, index, notes))
        except Exception as error:
            if not is_index_error(error):
                raise
            return _find_surely(query, clauses, orders, _Runs(folders, Database(None), Notes()))
    write_down(root, notes)
    return page
