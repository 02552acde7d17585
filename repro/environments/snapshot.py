"""Take the snapshot of an interpreter of this machine and keep it as a project's lock file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from repro.environments.machine import Machine
from repro.environments.retake import keep_sites, keep_take, list_options, name_take
from repro.errors import InvalidSnapshotError, NotObservedError, ReproError, SnapshotNotFoundError, UsageError
from repro.files import overwrite
from repro.formats.lockfile import Snapshot, format_snapshot
from repro.snapshots.load import is_bundle_name, load_lock
from repro.snapshots.take import Taken, take_snapshot
from repro.snapshots.used import mark_used, select
from repro.values import frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.drift import Drift
    from repro.snapshots.work import Thoroughness


@frozen
class Outcome:
    """A snapshot taken for `path`: what changed since the lock there, None where there was none that can be read."""

    path: Path
    taken: Taken
    drift: Drift | None
    would_change: bool
    notes: tuple[str, ...]


def find_lock(path: Path) -> tuple[Snapshot | None, tuple[str, ...]]:
    """Return the snapshot at `path`, None where there is none, and a note where it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe or a terminal, which would be waited for
        return None, ()
    try:
        return load_lock(path).snapshot, ()
    except SnapshotNotFoundError:
        return None, ()
    except InvalidSnapshotError as error:
        return None, (f"the lock before this one was not readable ({error.message})",)


def take_for(
    machine: Machine,
    python: str,
    *,
    path: Path,
    engine: str | None = None,
    thoroughness: Thoroughness | None = None,
) -> Outcome:
    """Take a snapshot of `python` to stand at `path`; an unchanged entry keeps the hashes of the lock there.

    Raises InterpreterNotFoundError, ReproError for a distribution that cannot be read unless allowed, and in strict
    mode for anything that is inconsistent.
    """
    from repro.snapshots.drift import compare
    from repro.snapshots.work import Thoroughness

    thoroughness = thoroughness or Thoroughness()
    old, notes = find_lock(path)
    since_ns = time.time_ns()
    memory = machine.make_memory()
    taken = take_snapshot(
        python,
        runner=machine.runner,
        environ=machine.environ,
        memory=memory,
        tools=machine.make_tools(project=path.parent, python=python, engine=engine, must_prove=thoroughness.prove),
        thoroughness=thoroughness,
        old=old,
        index_urls=machine.find_indexes(path.parent, python=python).public_urls,
    )
    if taken.python == os.path.abspath(python):  # what a pyenv shim leads to depends on more than the shim
        keep_sites(machine.store, python, taken.sites, environ=machine.environ, since_ns=since_ns)
    return Outcome(
        path=path,
        taken=taken,
        drift=compare(old, taken.snapshot) if old else None,
        would_change=old is None or old.compute_digest() != taken.snapshot.compute_digest(),
        notes=(
            *notes,
            *taken.notes,
            *(fault.text for fault in taken.faults),
            *([memory.trouble] if memory.trouble else []),
        ),
    )


def remember_outcome(machine: Machine, outcome: Outcome, said: str) -> None:
    """Let the next snapshot without options be a look-up, where this one gave the lock that is on disk."""
    taken = outcome.taken
    if not taken.is_settled or machine.indexes:  # without the options, others would be asked
        return
    lock = format_snapshot(taken.snapshot).encode()
    try:
        if not outcome.path.is_file() or outcome.path.read_bytes() != lock:
            return
    except OSError:
        return
    options = list_options(machine.environ, outcome.path.parent, python=taken.python)
    keep_take(machine.store, name_take(taken.python, taken.sites, swept=taken.swept, lock=lock, options=options), said)


def select_ring(outcome: Outcome, names: frozenset[str]) -> Outcome:
    """Return the outcome for these distributions and what they require alone.

    Raises NotObservedError where none of them is installed.
    """
    from repro.snapshots.drift import compare

    taken = outcome.taken
    installed = {each.name for each in taken.snapshot.distributions}
    gone = sorted(names - installed)
    if not names & installed:
        raise NotObservedError(
            f"nothing that the run has used is installed for `{taken.python}`",
            hint="name the run's interpreter with `--python PATH`",
        )
    ring = select(taken.snapshot, names)
    old, _ = find_lock(outcome.path)
    return replace(
        outcome,
        taken=replace(taken, snapshot=ring),
        drift=compare(old, ring) if old else None,
        would_change=old is None or old.compute_digest() != ring.compute_digest(),
        notes=(*outcome.notes, *(f"`{name}` was used and is not installed any more" for name in gone)),
    )


def format_lock(snapshot: Snapshot) -> str:
    """Return a snapshot as a project's lock file: no mark of what one run has used is in it."""
    return format_snapshot(mark_used(snapshot, frozenset()))


def write_lock(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot as a project's lock file, all or nothing.

    Raises UsageError for the name of a bundle, which would be read as one, and ReproError where it cannot be written.
    """
    if is_bundle_name(path.name):
        raise UsageError(f"`{path}` is the name of a bundle, not of a lock", hint="`repro bundle` writes one")
    try:
        overwrite(path, format_lock(snapshot))
    except OSError as error:
        raise ReproError(
            f"`{path}` cannot be written ({error.strerror})", hint="name another place with `-o FILE`"
        ) from error
