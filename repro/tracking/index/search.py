"""Search the runs of a directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from repro.tracking.entities import RUN_NAME, Dataset, Page, Run, RunQuery
from repro.tracking.index.database import Database, Notes, Row, is_index_error, open_to_read, write_down
from repro.tracking.index.reading import read_column, read_dataset_column, read_rows, read_whole
from repro.tracking.index.signs import Folder
from repro.tracking.index.texts import METRICS, PARAMS, TAGS, read_value
from repro.tracking.search.clauses import RUNS, Clause, Entity, Order, Value
from repro.tracking.search.find import read_datasets_key
from repro.tracking.search.grammar import parse_filter, parse_orders
from repro.tracking.search.match import make_test
from repro.tracking.search.order import make_rank
from repro.tracking.search.paging import check_max_results, take_page

_PARTS = {Entity.METRIC: METRICS, Entity.PARAM: PARAMS, Entity.TAG: TAGS}


class _Columns:
    """The values of the runs of some folders, read where and when they are asked for."""

    def __init__(self, folders: Sequence[Folder], index: Database, notes: Notes) -> None:
        self._folders = {folder.name: folder for folder in folders}
        self._index = index
        self._notes = notes

    def list_rows(self) -> list[Row]:
        """Return all runs."""
        rows: list[Row] = []
        for folder in self._folders.values():
            rows += (row for row in read_rows(folder, self._index, self._notes) if row.stage)
        return rows

    def _group(self, rows: Iterable[Row]) -> Iterator[tuple[Folder, list[Row]]]:
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.folder, []).append(row)
        for name, own in groups.items():
            yield self._folders[name], own

    def _read_part(self, rows: Iterable[Row], part: str, key: str) -> dict[int, str | None]:
        found: dict[int, str | None] = {}
        for folder, own in self._group(rows):
            found.update(read_column(folder, own, part, key, self._index, self._notes))
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
            found.update(read_dataset_column(folder, own, self._index, self._notes))
        return [found[row.number] for row in rows]

    def read_runs(self, rows: Sequence[Row]) -> tuple[Run, ...]:
        """Return runs with all that was logged to them."""
        known = self._index.load_entries([row.number for row in rows])
        return tuple(read_whole(self._folders[row.folder], row, known[row.number], self._notes) for row in rows)


def _select(rows: list[Row], clause: Clause, columns: _Columns) -> list[Row]:
    test = make_test(clause)
    if clause.entity is Entity.DATASET:
        datasets = columns.read_datasets(rows)
        return [
            row for row, own in zip(rows, datasets, strict=True) if any(map(test, read_datasets_key(own, clause.key)))
        ]
    values = columns.read(rows, clause.entity, clause.key)
    return [row for row, value in zip(rows, values, strict=True) if test(value)]


def _sort(rows: list[Row], order: Order, columns: _Columns) -> list[Row]:
    """Sort runs; ties stay in the order they have."""
    ranks = map(make_rank(ascending=order.ascending), columns.read(rows, order.entity, order.key))
    places = dict(zip((row.number for row in rows), ranks, strict=True))
    return sorted(rows, key=lambda row: places[row.number], reverse=not order.ascending)


def _find(query: RunQuery, clauses: Sequence[Clause], orders: Sequence[Order], columns: _Columns) -> Page[Run]:
    rows = [row for row in columns.list_rows() if query.view.shows(row.stage or "")]
    for clause in sorted(clauses, key=lambda each: each.entity is not Entity.ATTRIBUTE):
        rows = _select(rows, clause, columns)
    rows.sort(key=lambda row: (-(row.start_time or 0), row.run_id))
    for order in reversed(orders):
        rows = _sort(rows, order, columns)
    part, token = take_page(rows, query, lambda row: row.run_id)
    return Page(items=columns.read_runs(part), token=token)


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
                page = _find(query, clauses, orders, _Columns(folders, index, notes))
        except Exception as error:
            if not is_index_error(error):
                raise
            return _find(query, clauses, orders, _Columns(folders, Database(None), Notes()))
    write_down(root, notes)
    return page
