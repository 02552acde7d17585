"""Load the snapshot that a directory or a file holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from repro.errors import InvalidSnapshotError, SnapshotNotFoundError
from repro.formats.lockfile import FILE_NAME, Interpreter, Snapshot, has_header, parse_snapshot
from repro.values import frozen


@frozen
class Loaded:
    """A snapshot as it was read from `path`, and what its reader should know: one sentence each."""

    path: Path
    snapshot: Snapshot
    notes: tuple[str, ...]


def is_bundle_name(name: str) -> bool:  # `repro restore` asks the same before it imports anything
    """Tell whether a file is a bundle, which holds a lock, by its name."""
    return name.lower().endswith(".zip")


def locate_lock(path: str | os.PathLike[str]) -> Path:
    """Return the lock file meant by a path: the file itself, or the one in that directory."""
    place = Path(path)
    return place / FILE_NAME if place.is_dir() else place


def read_lock(path: Path) -> bytes:
    """Return a lock's bytes, of a bundle those of the lock in it. Raises SnapshotNotFoundError.

    A bundle that cannot be trusted raises InvalidSnapshotError.
    """
    if is_bundle_name(path.name):
        from repro.snapshots.bundled import read_bundled_lock

        return read_bundled_lock(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SnapshotNotFoundError(
            f"there is no snapshot at `{path}`",
            hint=f"take one with `repro snapshot {path.parent}`; `repro run` takes one too",
        ) from None
    except OSError as error:
        raise SnapshotNotFoundError(f"`{path}` cannot be read ({error.strerror})") from error


def parse_lock(content: bytes, *, path: Path, get_python: Callable[[], Interpreter] | None = None) -> Loaded:
    """Return the snapshot in a lock's bytes; a plain file of pins is taken with fewer guarantees, and that is said.

    The markers of a plain file are judged for the Python that `get_python` returns; where it is None they are faults.
    Raises InvalidSnapshotError.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSnapshotError(
            f"`{path}` is not text ({error})", hint="take it again with `repro snapshot`"
        ) from error
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if not has_header(text):
        from repro.formats.requirements import parse_pinned_requirements

        note = f"`{path}` is a plain requirements file: names and versions are checked, not the Python nor the files"
        plain = parse_pinned_requirements(text, where=str(path), get_python=get_python)
        return Loaded(path=path, snapshot=plain, notes=(note,))
    snapshot = parse_snapshot(text, where=str(path))
    notes: tuple[str, ...] = ()
    if snapshot.stated_digest != snapshot.compute_digest():
        notes = (
            f"`{path}` was edited by hand: its content is not what its header says; `repro snapshot` takes it anew",
        )
    return Loaded(path=path, snapshot=snapshot, notes=notes)


def load_lock(path: str | os.PathLike[str], *, get_python: Callable[[], Interpreter] | None = None) -> Loaded:
    """Locate, read and parse a lock (see `parse_lock`). Raises SnapshotNotFoundError and InvalidSnapshotError."""
    place = locate_lock(path)
    return parse_lock(read_lock(place), path=place, get_python=get_python)
