"""Lock what a project's loose files ask for once: what they led to is remembered in the store by what they say.

    <store>/locks/<digest>       the lock; read again for the same files, interpreter, date and indexes

The digest is over requirements, constraints and options, not over comments, order of keys or places of files. A lock
that is used is touched, and one that is not goes with the next prune.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from repro import settings
from repro.environments.lock import LockRequest, is_lock_of_others, lock_requirements, read_request
from repro.environments.machine import Machine
from repro.environments.ready import find_python_stamp
from repro.errors import InvalidSnapshotError, SnapshotNotFoundError
from repro.files import hold_lock, write_atomically
from repro.formats.lockfile import Snapshot, format_snapshot
from repro.formats.moment import format_moment
from repro.formats.wanted import Wanted
from repro.snapshots.load import load_lock
from repro.snapshots.wanted import expand_variables, read_source
from repro.values import frozen, replace

_FORMAT = 1  # another way to choose versions gets another number


@frozen
class LooseLock:
    """The lock of loose files in the store, and what the user should know of it; `is_new` where it was made now."""

    path: Path
    snapshot: Snapshot
    is_new: bool
    notes: tuple[str, ...] = ()


def _identify(wanted: Wanted, machine: Machine) -> list[object]:
    """Return what files ask for, without where it stands."""
    requirements = [
        [[expand_variables(each.text, machine.environ), sorted(each.hashes)] for each in group]
        for group in (wanted.required, wanted.constraints)
    ]
    options = [[each.name, expand_variables(each.value, machine.environ)] for each in wanted.options]
    return [requirements, options, [[each.version, each.range] for each in wanted.pythons]]


def _compute_digest(machine: Machine, request: LockRequest, wanted: Wanted | None) -> str:
    python = settings.choose_python(request.python, machine.environ)
    content = [read_source(path) for path in request.files] if wanted is None else _identify(wanted, machine)
    facts = [
        _FORMAT,
        content,
        [python, str(find_python_stamp(python)), request.python is not None],
        [request.engine, request.extras, request.groups, request.of_period],
        format_moment(request.before) if request.before else None,
        settings.list_index_variables(machine.environ),
        repr(machine.indexes),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _find_known(path: Path) -> Snapshot | None:
    try:
        snapshot = load_lock(path).snapshot
        with contextlib.suppress(OSError):
            os.utime(path)
    except (SnapshotNotFoundError, InvalidSnapshotError):
        return None
    return snapshot


def _note_patches(wanted: Wanted | None, snapshot: Snapshot) -> Iterator[str]:
    """Yield a sentence for each file that asks for another patch of Python than the one the lock is for."""
    version = snapshot.interpreter.version if snapshot.interpreter else None
    for wish in wanted.pythons if wanted else ():
        if wish.version and wish.version.count(".") == 2 and version and wish.version != version:
            yield f"{wish.place} asks for Python {wish.version}, which is not here: {version} is used"


def remember(path: Path, snapshot: Snapshot) -> None:
    """Let the files that led to the lock at `path` lead to another from now on."""
    write_atomically(path, format_snapshot(snapshot))


def check_files(machine: Machine, request: LockRequest) -> None:
    """Read loose files, so that every fault in them is told before anything else is done. Raises as `read_request`."""
    if not any(map(is_lock_of_others, request.files)):
        read_request(machine, request)


@frozen
class _Place:
    """A request as it is locked, what its files want where they are loose, and where their lock is remembered."""

    request: LockRequest
    wanted: Wanted | None
    path: Path

    def find(self) -> LooseLock | None:
        snapshot = _find_known(self.path)
        if snapshot is None:
            return None
        notes = (*(self.wanted.notes if self.wanted else ()), *_note_patches(self.wanted, snapshot))
        return LooseLock(path=self.path, snapshot=snapshot, is_new=False, notes=notes)


def _find_place(machine: Machine, request: LockRequest) -> _Place:
    is_loose = not any(map(is_lock_of_others, request.files))
    request = request if is_loose else replace(request, before=None)
    wanted = read_request(machine, request) if is_loose else None
    machine.store.prepare()
    path = Path(machine.store.room("locks", _compute_digest(machine, request, wanted)))
    return _Place(request=request, wanted=wanted, path=path)


def locate_lock(machine: Machine, request: LockRequest) -> Path:
    """Return where the lock that loose files lead to is remembered. Raises as `read_request`."""
    return _find_place(machine, request).path


def find_locked(machine: Machine, request: LockRequest) -> LooseLock | None:
    """Return the lock that is remembered of loose files, None where there is none. Raises as `read_request`."""
    return _find_place(machine, request).find()


def lock_once(machine: Machine, request: LockRequest) -> LooseLock:
    """Return the lock that loose files lead to: the one remembered, else a new one. Raises as `lock_requirements`.

    A lock of another tool takes no date, and needs none.
    """
    place = _find_place(machine, request)
    if known := place.find():
        return known
    wait = lambda: machine.report("waiting: another process is locking the same")  # noqa: E731
    with hold_lock(machine.store.room("flocks", f"lock-{place.path.name[:16]}.lock"), wait):
        if known := place.find():
            return known
        locked = lock_requirements(machine, place.request)
        remember(place.path, locked.snapshot)
    return LooseLock(path=place.path, snapshot=locked.snapshot, is_new=True, notes=locked.notes)
