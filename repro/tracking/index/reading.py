"""Say how the files of runs stand now: from the index where they are unchanged, else from the files themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from pathlib import Path

from repro.errors import TrackingError
from repro.formats.run_meta import RunInfo, RunStatus, check_key, parse_metric_line
from repro.tracking.dataset_files import list_dataset_files, read_datasets
from repro.tracking.entities import RUN_NAME, Dataset, Run, RunData
from repro.tracking.index.database import Database, Known, Notes, Row
from repro.tracking.index.signs import NO_FILE, UNLISTED, Folder, change_time_ns, sign
from repro.tracking.index.texts import (
    INPUTS,
    METRICS,
    PARAMS,
    TAGS,
    describe,
    describe_datasets,
    describe_run,
    read_described_datasets,
)

_NO_RUNS = frozenset({"tags", "datasets", "traces", "models", "meta.yaml"})  # what an experiment holds beside runs
_UNKNOWN: Known = (NO_FILE, None)
_DIRECTORY = "directory"  # the part of the index that says which keys there are


def _number(folder: Folder, name: str) -> int:
    """Return a run's number in the index: the same wherever it is asked for, and in the trash."""
    digest = hashlib.blake2b(f"{folder.experiment_id}/{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _is_unchanged(folder: Folder, found: os.stat_result, index: Database) -> bool:
    """Tell whether the index knows each directory that lies in a folder."""
    return index.find_folder(folder.name) == (sign(found), index.count_rows(folder.name))


def _list_new_rows(folder: Folder, found: os.stat_result, index: Database, notes: Notes) -> tuple[list[Row], set[str]]:
    """Return the directories that the index does not know, and the names of all that there are."""
    names = {name for name in folder.list_names() if name not in _NO_RUNS and name[0] != "."}
    rows = index.load_rows(folder.name)
    notes.folders.append((change_time_ns(found), (folder.name, sign(found), len(names))))
    notes.gone_runs += [row for row in rows if row.run_id not in names]
    new = names.difference(row.run_id for row in rows)
    return [Row(folder.name, name, _number(folder, name), UNLISTED) for name in new], names


def _by_time(row: Row) -> tuple[int, str]:
    return -(row.start_time or 0), row.run_id


def iterate_runs(folder: Folder, index: Database, notes: Notes) -> Iterator[Row]:
    """Yield the runs of a folder, the newest first, then by run id: what the index knows is not looked at yet.

    That a run's start time never changes is what this relies on; whoever looks at a row finds out.
    """
    found = folder.look_at(".")
    if found is None:
        return
    names: set[str] | None = None
    new: list[Row] = []
    if not _is_unchanged(folder, found, index):
        new, names = _list_new_rows(folder, found, index, notes)
    others = refresh(folder, [*new, *index.load_strays(folder.name)], index, notes)
    for row in merge(index.iterate_runs(folder.name), sorted(others, key=_by_time), key=_by_time):
        if names is None or row.run_id in names:
            yield row


def _read_row(folder: Folder, row: Row, notes: Notes) -> Row:
    """Return what the `meta.yaml` of a directory says."""
    read = folder.read(f"{row.run_id}/meta.yaml")
    made = Row(row.folder, row.run_id, row.number, NO_FILE) if read is None else describe_run(folder, row, *read)
    notes.rows.append((change_time_ns(read[0]) if read else 0, made))
    return made


def refresh(folder: Folder, rows: Sequence[Row], index: Database, notes: Notes) -> list[Row]:
    """Return those rows that are runs now, whole, as their `meta.yaml` say."""
    signs = folder.sign_all(f"{row.run_id}/meta.yaml" for row in rows)
    same = [row.run_id for row, now in zip(rows, signs, strict=True) if row.sign == now and now != NO_FILE]
    whole = index.load_whole_rows(folder.name, same)
    fresh = []
    for row, now in zip(rows, signs, strict=True):
        if now != NO_FILE or row.sign != NO_FILE:
            known = whole.get(row.run_id)
            fresh.append(known if known and known.sign == now else _read_row(folder, row, notes))
    return [row for row in fresh if row.stage]


def _read_entry(folder: Folder, row: Row, part: str, key: str, notes: Notes) -> str | None:
    """Return what one file of a run says, which the index does not know."""
    read = folder.read(f"{row.run_id}/{part}/{key}")
    if read is None:
        return None
    found, content = read
    text = None if content is None else describe(part, content)
    notes.read_bytes += found.st_size
    notes.entries.append((change_time_ns(found), (row.number, part, key, sign(found), text)))
    return text


def read_column(
    folder: Folder, rows: Sequence[Row], part: str, key: str, known: Mapping[int, Known], notes: Notes
) -> dict[int, str | None]:
    """Return what runs have for a key of one part, by their numbers; nothing has a key that is none."""
    try:
        check_key("key", key)
    except TrackingError:
        return {}
    if not known:
        return {row.number: _read_entry(folder, row, part, key, notes) for row in rows}
    values = {}
    signs = folder.sign_all(f"{row.run_id}/{part}/{key}" for row in rows)
    for row, now in zip(rows, signs, strict=True):
        before, text = known.get(row.number, _UNKNOWN)
        if now != NO_FILE:
            values[row.number] = text if before == now else _read_entry(folder, row, part, key, notes)
    return values


def _sign_datasets(folder: Folder, run_id: str, paths: Iterable[str]) -> int:
    """Return one sign for the directory of a run's inputs and for files that say which datasets they are."""
    return hash((folder.sign(f"{run_id}/{INPUTS}"), *map(folder.sign, paths)))


def _read_datasets(folder: Folder, row: Row, known: Known, notes: Notes) -> tuple[Dataset, ...]:
    found = folder.look_at(f"{row.run_id}/{INPUTS}")
    if found is None:
        return ()
    if known[1] is not None:
        paths, datasets = read_described_datasets(known[1])
        if known[0] == _sign_datasets(folder, row.run_id, paths):
            return datasets
    run_dir = Path(folder.path, row.run_id)
    paths = list_dataset_files(run_dir)
    now = _sign_datasets(folder, row.run_id, paths)
    changed = max(change_time_ns(each) for each in (found, *map(folder.look_at, paths)) if each)
    datasets = read_datasets(run_dir)
    notes.entries.append((changed, (row.number, INPUTS, "", now, describe_datasets(paths, datasets))))
    return datasets


def read_dataset_column(
    folder: Folder, rows: Sequence[Row], known: Mapping[int, Known], notes: Notes
) -> dict[int, tuple[Dataset, ...]]:
    """Return the datasets of runs, by their numbers."""
    return {row.number: _read_datasets(folder, row, known.get(row.number, _UNKNOWN), notes) for row in rows}


def _list_keys(
    folder: Folder, row: Row, part: str, known: dict[tuple[str, str], Known], notes: Notes, inner: str = ""
) -> Iterator[str]:
    """Yield the keys that a run has now; `inner` is empty or the directory of keys with `/`, with one at its end."""
    path, key = f"{row.run_id}/{part}/{inner}", f"{part}/{inner}"
    before, names = known.get((_DIRECTORY, key), _UNKNOWN)
    if names is None or before != folder.sign(path):
        listed = folder.list_files(path)
        if listed is None:
            return
        found = listed[2]
        names = f"{'/'.join(listed[0])}//{'/'.join(listed[1])}"
        notes.entries.append((change_time_ns(found), (row.number, _DIRECTORY, key, sign(found), names)))
    files, _, dirs = names.partition("//")
    yield from (f"{inner}{name}" for name in files.split("/") if name)
    for name in dirs.split("/"):
        if name:
            yield from _list_keys(folder, row, part, known, notes, f"{inner}{name}/")


def read_whole(folder: Folder, row: Row, known: dict[tuple[str, str], Known], notes: Notes) -> Run:
    """Return a run with everything that was logged to it."""
    texts: dict[str, dict[str, str]] = {METRICS: {}, PARAMS: {}, TAGS: {}}
    for part, values in texts.items():
        keys = sorted(_list_keys(folder, row, part, known, notes))
        signs = folder.sign_all(f"{row.run_id}/{part}/{key}" for key in keys)
        for key, now in zip(keys, signs, strict=True):
            before, text = known.get((part, key), _UNKNOWN)
            if before != now:
                text = _read_entry(folder, row, part, key, notes)
            if text is not None:
                values[key] = text
    points = {key: parse_metric_line(text) for key, text in texts[METRICS].items()}
    info = RunInfo(
        run_id=row.run_id,
        experiment_id=folder.experiment_id,
        run_name=row.run_name or texts[TAGS].get(RUN_NAME, ""),
        user_id=row.user_id or "",
        status=RunStatus(row.status or ""),
        start_time_ms=row.start_time or 0,
        end_time_ms=row.end_time,
        artifact_uri=row.artifact_uri or "",
        lifecycle_stage=row.stage or "",
    )
    datasets = _read_datasets(folder, row, known.get((INPUTS, ""), _UNKNOWN), notes)
    return Run(info=info, data=RunData(points=points, params=texts[PARAMS], tags=texts[TAGS]), datasets=datasets)
