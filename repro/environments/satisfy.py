"""Restore a lock, or say exactly what differs from it: what every layer calls before it runs or loads something."""

from __future__ import annotations

import shlex
import warnings

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.restore import Check, Request, restore_environment
from repro.errors import SnapshotNotRestoredWarning
from repro.formats.lockfile import Snapshot
from repro.settings import choose_python
from repro.snapshots.drift import (
    Change,
    Drift,
    compare,
    describe_aspects,
    describe_interpreter,
    is_same_version,
)
from repro.snapshots.load import load_lock
from repro.snapshots.probe import probe
from repro.snapshots.recall import describe
from repro.snapshots.severity import Severity
from repro.values import replace

_SHOWN = 8


def _describe_change(change: Change) -> str:
    if change.before is None or change.after is None:
        there = change.before or change.after
        return f"{change.name} (locked {there.version if there else 'none'}, not installed)"
    locked, installed = change.before.version, change.after.version
    if is_same_version(locked, installed):
        return f"{change.name} (locked {locked}, {describe_aspects(change.before, change.after)})"
    return f"{change.name} (locked {locked}, installed {installed})"


def _describe(drift: Drift) -> list[tuple[Severity, str]]:
    """Return each difference with its class, worst first."""
    differing = [(change.severity, _describe_change(change)) for change in drift.changes]
    if drift.interpreters and (severity := drift.interpreter_severity):
        locked, here = map(describe_interpreter, drift.interpreters)
        differing.append((severity, f"Python (locked {locked}, here {here})"))
    return sorted(differing, key=lambda pair: pair[0].rank)


def format_warning(drift: Drift, *, path: str, command: str) -> str:
    """Return the warning for an environment that does not satisfy its lock: worst class first, then what mends it."""
    differing = _describe(drift)
    groups: dict[Severity, list[str]] = {}
    for severity, sentence in differing[:_SHOWN]:
        groups.setdefault(severity, []).append(sentence)
    shown = "; ".join(f"{severity.value}: {', '.join(each)}" for severity, each in groups.items())
    more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return f"the snapshot `{path}` is not restored, and results may differ: {shown}{more}. Restore it with `{command}`"


def look_here(machine: Machine, python: str) -> Snapshot:
    """Return what the environment of `python` holds, without hashes."""
    return describe(probe(python, runner=machine.runner, environ=machine.environ), memory=machine.make_memory())[0]


def restore_or_warn(
    machine: Machine,
    request: Request,
    *,
    restore: bool,
    here: Snapshot | None = None,
    command: str | None = None,
) -> Environment | None:
    """Restore and return the environment, or return None after one SnapshotNotRestoredWarning where it is needed.

    `here` is what the environment holds that is used without restoring (looked up where it is not given), `command`
    what the warning advises.
    """
    if restore:
        return restore_environment(machine, replace(request, check=Check.FILES))
    python = choose_python(request.python, machine.environ)
    loaded = load_lock(request.lock, get_python=lambda: machine.make_finder().examine(python).interpreter)
    here = here or look_here(machine, python)
    drift = compare(loaded.snapshot, here).without_added()
    if drift:
        command = command or f"repro restore {shlex.quote(str(request.lock))}"
        warnings.warn(
            format_warning(drift, path=str(loaded.path), command=command), SnapshotNotRestoredWarning, stacklevel=2
        )
    return None
