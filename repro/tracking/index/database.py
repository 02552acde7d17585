"""The SQLite file of the index: what is known of runs, each beside the sign of the file that says it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import starmap
from pathlib import Path
from typing import NamedTuple, TypeVar

from repro.tracking.index.signs import SETTLED_NS
from repro.values import field, mutable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")
INDEX_FILE = ".repro-index-v1.sqlite3"
_SCHEMA = (
    "CREATE TABLE entry (run INTEGER NOT NULL, part TEXT NOT NULL, key TEXT NOT NULL, sign INTEGER NOT NULL, "
    "value TEXT, PRIMARY KEY (run, part, key)) WITHOUT ROWID",
    "CREATE TABLE folder (name TEXT PRIMARY KEY, sign INTEGER NOT NULL, runs INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE run (folder TEXT NOT NULL, run_id TEXT NOT NULL, number INTEGER NOT NULL, sign INTEGER NOT NULL, "
    "start_time INTEGER, stage TEXT, run_name TEXT, user_id TEXT, status TEXT, end_time INTEGER, artifact_uri TEXT, "
    "PRIMARY KEY (folder, run_id)) WITHOUT ROWID",
    "CREATE INDEX run_by_time ON run (folder, start_time DESC, run_id, number, sign, stage)",
)
_WORTH_WRITING = 64  # files; to read fewer again costs less than to write down what they say
_WORTH_WRITING_BYTES = 1 << 20
_AT_ONCE = 500  # SQLite takes 999 values in a statement at least
_FEW = 2000  # runs; of more, all that a folder has is loaded at once
_WAIT_TO_READ_S = 1.0
_WAIT_TO_WRITE_MS = 200

Known = tuple[int, "str | None"]
"""The sign of a file, and what it says."""


class Row(NamedTuple):
    """A directory that may be a run: its number in the index, and what its `meta.yaml` says; without a stage, none.

    One without a name is not loaded whole.
    """

    folder: str
    run_id: str
    number: int
    sign: int
    start_time: int | None = None
    stage: str | None = None
    run_name: str | None = None
    user_id: str | None = None
    status: str | None = None
    end_time: int | None = None
    artifact_uri: str | None = None


_LIGHT = "folder, run_id, number, sign, start_time, stage"
_WHOLE = f"{_LIGHT}, run_name, user_id, status, end_time, artifact_uri"


@mutable
class Notes:
    """What a search has read because the index did not know it, each with the time of the file's last change."""

    rows: list[tuple[int, Row]] = field(default_factory=list)
    entries: list[tuple[int, tuple[int, str, str, int, str | None]]] = field(default_factory=list)
    folders: list[tuple[int, tuple[str, int, int]]] = field(default_factory=list)
    gone_runs: list[Row] = field(default_factory=list)
    read_bytes: int = 0
    started_s: float = field(default_factory=time.monotonic)

    def find_latest_kept(self, now_ns: int) -> int:
        """Return the last change that was settled when the search began, where it is `now_ns` now."""
        return now_ns - int((time.monotonic() - self.started_s) * 1e9) - SETTLED_NS

    def are_worth_writing(self) -> bool:
        """Tell whether the next search gains more than writing costs."""
        latest = self.find_latest_kept(time.time_ns())
        settled = sum(changed <= latest for part in (self.rows, self.entries, self.folders) for changed, _ in part)
        return settled + len(self.gone_runs) >= _WORTH_WRITING or (
            settled > 0 and self.read_bytes >= _WORTH_WRITING_BYTES
        )


class Database:
    """An open index; every deed raises sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def _ask(self, question: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        return [] if self._connection is None else self._connection.execute(question, values).fetchall()

    def find_folder(self, name: str) -> tuple[int, int] | None:
        """Return a folder's sign, and how many directories it had."""
        found = self._ask("SELECT sign, runs FROM folder WHERE name = ?", (name,))
        return found[0] if found else None  # type: ignore[return-value]

    def count_rows(self, folder: str) -> int:
        """Return how many directories of a folder are known."""
        found = self._ask("SELECT count(*) FROM run WHERE folder = ?", (folder,))
        return int(str(found[0][0])) if found else 0

    def load_rows(self, folder: str) -> list[Row]:
        """Return the directories of a folder, runs or not, without what is only asked of some."""
        question = f"SELECT {_LIGHT} FROM run WHERE folder = ?"
        return list(starmap(Row, self._ask(question, (folder,))))

    def load_strays(self, folder: str) -> list[Row]:
        """Return the directories of a folder that were no runs."""
        question = f"SELECT {_LIGHT} FROM run WHERE folder = ? AND start_time IS NULL"
        return list(starmap(Row, self._ask(question, (folder,))))

    def iterate_runs(self, folder: str) -> Iterator[Row]:
        """Yield the runs of a folder, the newest first, then by run id."""
        if self._connection is not None:
            question = (
                f"SELECT {_LIGHT} FROM run WHERE folder = ? AND start_time IS NOT NULL ORDER BY start_time DESC, run_id"
            )
            yield from starmap(Row, self._connection.execute(question, (folder,)))

    def load_whole_rows(self, folder: str, run_ids: Sequence[str]) -> dict[str, Row]:
        """Return runs of a folder with all that is known of them, by run id."""
        found: list[tuple[object, ...]] = []
        if len(run_ids) > _FEW:
            found = self._ask(f"SELECT {_WHOLE} FROM run WHERE folder = ?", (folder,))
        else:
            for some in _divide(run_ids):
                question = f"SELECT {_WHOLE} FROM run WHERE folder = ? AND run_id IN ({_list_marks(some)})"
                found += self._ask(question, (folder, *some))
        return {row.run_id: row for row in map(Row._make, found)}

    def load_column(self, folder: str, part: str, key: str) -> dict[int, Known]:
        """Return what is known of one key, by run."""
        question = (
            "SELECT run.number, entry.sign, entry.value FROM run CROSS JOIN entry ON entry.run = run.number "
            "AND entry.part = ? AND entry.key = ? WHERE run.folder = ?"
        )
        return {run: (sign, value) for run, sign, value in self._ask(question, (part, key, folder))}  # type: ignore[misc]

    def load_values(self, runs: Sequence[int], part: str, key: str) -> dict[int, Known]:
        """Return what is known of one key of some runs."""
        known: dict[int, Known] = {}
        for some in _divide(runs):
            question = f"SELECT run, sign, value FROM entry WHERE part = ? AND key = ? AND run IN ({_list_marks(some)})"
            known.update((run, (sign, value)) for run, sign, value in self._ask(question, (part, key, *some)))  # type: ignore[misc]
        return known

    def load_entries(self, runs: Sequence[int]) -> dict[int, dict[tuple[str, str], Known]]:
        """Return all that is known of some runs, by part and key."""
        entries: dict[int, dict[tuple[str, str], Known]] = {run: {} for run in runs}
        for some in _divide(runs):
            question = f"SELECT run, part, key, sign, value FROM entry WHERE run IN ({_list_marks(some)})"
            for run, part, key, sign, value in self._ask(question, some):
                entries[run][part, key] = sign, value  # type: ignore[index,assignment]
        return entries

    def save(self, notes: Notes, latest: int) -> None:
        """Write down what was read from files that changed at `latest` or before, all of it or nothing."""
        assert self._connection is not None
        many = self._connection.executemany
        self._connection.execute(f"PRAGMA busy_timeout = {_WAIT_TO_WRITE_MS}")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            many("DELETE FROM run WHERE folder = ? AND run_id = ?", (row[:2] for row in notes.gone_runs))
            many("DELETE FROM entry WHERE run = ?", ((row.number,) for row in notes.gone_runs))
            many(f"REPLACE INTO run VALUES ({','.join('?' * 11)})", _keep(notes.rows, latest))
            many("REPLACE INTO entry VALUES (?, ?, ?, ?, ?)", _keep(notes.entries, latest))
            many("REPLACE INTO folder VALUES (?, ?, ?)", _keep(notes.folders, latest))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _divide(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield as many values as one statement takes."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _list_marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _keep(notes: Iterable[tuple[int, tuple[object, ...]]], latest: int) -> list[tuple[object, ...]]:
    """Return what is settled, in the order of the table, which makes it fast to write."""
    return sorted((each for changed, each in notes if changed <= latest), key=lambda each: each[:3])


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    import sqlite3

    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, timeout=_WAIT_TO_READ_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _has_schema(connection: sqlite3.Connection) -> bool:
    """Tell whether the tables are ours, so that no foreign trigger or view is ever met."""
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return sorted(row[0] for row in found) == sorted(_SCHEMA)


def _remove(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}-journal")):
        with suppress(OSError):
            os.unlink(name)


def _open_to_read(path: Path) -> sqlite3.Connection | None:
    """Return the index where there is one that can be used; one that is damaged, or not ours, is removed."""
    if not path.is_file() or path.is_symlink():
        return None
    try:
        import sqlite3
    except ImportError:  # some Pythons are built without it
        return None
    connection = None
    try:
        connection = _connect(path, "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro")
        connection.execute("BEGIN")  # what one search asks for is of one moment
        if _has_schema(connection):
            return connection
        connection.close()
        _remove(path)
    except sqlite3.OperationalError:
        if connection:
            connection.close()
    except sqlite3.DatabaseError:
        if connection:
            connection.close()
        _remove(path)
    return None


def _open_to_write(path: Path) -> sqlite3.Connection:
    """Return the index, made where there is none."""
    import sqlite3

    connection = _connect(path, "rwc")
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA:
                    connection.execute(statement)
            connection.execute("COMMIT")
        elif not _has_schema(connection):
            raise sqlite3.OperationalError("another index")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def open_to_read(root: Path) -> Iterator[Database]:
    """Yield the index of a store; without one that can be used, one that knows nothing."""
    connection = _open_to_read(root / INDEX_FILE)
    try:
        yield Database(connection)
    except Exception as error:
        if is_damaged(error):
            _remove(root / INDEX_FILE)
        raise
    finally:
        if connection:
            connection.close()


def is_index_error(error: Exception) -> bool:
    """Tell whether the index, and not what is searched for, is the trouble."""
    sqlite3 = sys.modules.get("sqlite3")
    return sqlite3 is not None and isinstance(error, sqlite3.Error)


def is_damaged(error: Exception) -> bool:
    """Tell whether an error says that the index has to go."""
    sqlite3 = sys.modules.get("sqlite3")
    return is_index_error(error) and sqlite3 is not None and not isinstance(error, sqlite3.OperationalError)


def write_down(root: Path, notes: Notes) -> None:
    """Keep what a search has read for the next one, if that is worth it and can be done now."""
    path = root / INDEX_FILE
    if not notes.are_worth_writing() or not os.access(root, os.W_OK) or path.is_symlink():
        return
    try:
        import sqlite3
    except ImportError:
        return
    connection = None
    try:
        connection = _open_to_write(path)
        os.utime(path)  # its time is that of the file system's clock, as the signs' are
        Database(connection).save(notes, notes.find_latest_kept(path.stat().st_mtime_ns))
    except sqlite3.OperationalError:
        pass
    except sqlite3.DatabaseError:
        _remove(path)
    except OSError:
        pass
    finally:
        if connection:
            connection.close()
