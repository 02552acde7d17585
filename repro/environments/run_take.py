"""Take the snapshot of a run: a look-up where the same environment gave it for the same lock before.

What a snapshot depends on is what `retake` says: where distributions lie, the ctimes of all files there, the lock that
stands at its place, and options. Under the digest of these lies all that a run needs of it, as JSON, in the store's
`takes/`. Nothing of a store that somebody else could have filled is believed.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from repro.environments.machine import Machine
from repro.environments.retake import find_sites, keep_take, list_options, name_take, read_take, sum_sites
from repro.environments.snapshot import Outcome, take_for
from repro.formats.lockfile import Snapshot, format_snapshot, parse_snapshot
from repro.snapshots.probe import Found
from repro.snapshots.take import Taken
from repro.values import asdict

_KIND = "run"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _name(machine: Machine, python: str, sites: tuple[str, ...], swept: str, *, project: Path, lock: bytes) -> str:
    libc, kernel = os.confstr("CS_GNU_LIBC_VERSION") or "", os.uname().release
    options = [_KIND, libc, kernel, *list_options(machine.environ, project, python=python)]
    return name_take(python, sites, swept=swept, lock=lock, options=options)


def _format(taken: Taken, notes: tuple[str, ...]) -> str:
    content = {
        "snapshot": format_snapshot(taken.snapshot),
        "python": taken.python,
        "prefix": taken.prefix,
        "sites": taken.sites,
        "swept": taken.swept,
        "notes": notes,
        "found": [asdict(each) for each in taken.found],
    }
    return json.dumps(content)


def _parse(text: str, *, path: Path) -> Outcome:
    """Return what was kept. Raises ValueError, KeyError, TypeError and InvalidSnapshotError for anything else."""
    content = json.loads(text)
    taken = Taken(
        snapshot=parse_snapshot(content["snapshot"], where=str(path)),
        python=content["python"],
        prefix=content["prefix"],
        sites=tuple(content["sites"]),
        swept=content["swept"],
        found=tuple(Found(**{**each, "requires": tuple(each["requires"])}) for each in content["found"]),
    )
    return Outcome(path=path, taken=taken, drift=None, would_change=False, notes=tuple(content["notes"]))


def _find(machine: Machine, name: str, *, path: Path) -> Outcome | None:
    from repro.errors import ReproError

    try:
        text = read_take(machine.store, name)
        return None if text is None else _parse(text, path=path)
    except (ReproError, ValueError, KeyError, TypeError):
        return None


def _is_lasting(snapshot: Snapshot) -> bool:
    """Tell whether nothing of it lies in the store, where it may be gone: that is packed again when it is taken."""
    return not any(each.kept or each.modified for each in snapshot.distributions)


def _keep(machine: Machine, python: str, outcome: Outcome, *, lock: bytes) -> None:
    """Remember an outcome under the lock that stood at its place, and under its own: it would give itself again."""
    taken = outcome.taken
    text = _format(taken, outcome.notes)
    for each in (lock, format_snapshot(taken.snapshot).encode()):
        name = _name(machine, python, taken.sites, taken.swept, project=outcome.path.parent, lock=each)
        keep_take(machine.store, name, text)


def take_for_run(machine: Machine, python: str, *, path: Path) -> Outcome:
    """Take a snapshot of `python` to be compared with the lock at `path`, or recall it; nothing is told of drift.

    Raises InterpreterNotFoundError, and ReproError for a store that somebody else could have filled.
    """
    machine.store.check()
    lock = _read(path)
    sites = None if machine.indexes else find_sites(machine.store, python, machine.environ)
    swept = sum_sites(sites, split=threading.active_count() == 1, ahead=machine.ahead) if sites else None
    if sites and swept is not None:
        name = _name(machine, python, sites, swept, project=path.parent, lock=lock)
        if outcome := _find(machine, name, path=path):
            return outcome
    outcome = take_for(machine, python, path=path)
    taken = outcome.taken
    is_still = swept in (None, taken.swept)  # what changed meanwhile may be in one of its parts and not in the other
    if is_still and taken.is_settled and machine.indexes is None and _is_lasting(taken.snapshot):
        _keep(machine, python, outcome, lock=lock)
    return outcome
