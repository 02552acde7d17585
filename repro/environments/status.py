"""Compare three things: a lock, an environment, and the code that is to run in it."""

from __future__ import annotations

from pathlib import Path

from repro.environments.machine import Machine
from repro.formats.lockfile import Snapshot
from repro.snapshots.code import Code, scan_code
from repro.snapshots.drift import Drift, compare
from repro.snapshots.gaps import Gap, Needs, find_needs
from repro.snapshots.load import Loaded
from repro.snapshots.mend import Place, advise
from repro.snapshots.probe import Report, probe
from repro.snapshots.provides import read_provided
from repro.snapshots.recall import describe
from repro.snapshots.severity import Known
from repro.snapshots.stdlib import list_stdlib
from repro.values import frozen


@frozen
class Status:
    """How a lock, an environment and the code beside the lock stand to each other; `code` is None where not read."""

    loaded: Loaded
    here: Snapshot
    drift: Drift
    code: Code | None
    gaps: tuple[Gap, ...]
    command: str | None

    @property
    def agrees(self) -> bool:
        """Whether nothing differs and the lock provides all that the code needs."""
        return not self.drift and not self.gaps


def _find_needs(machine: Machine, code: Code, *, report: Report, lock: Snapshot, here: Snapshot, python: str) -> Needs:
    stdlib = list_stdlib(python, interpreter=here.interpreter, runner=machine.runner, environ=machine.environ)
    return find_needs(code, provided=read_provided(report.found), stdlib=stdlib, lock=lock, here=here)


def take_status(machine: Machine, loaded: Loaded, *, place: Place, project: Path | None) -> Status:
    """Compare a lock with the environment of `place.python` and with the code below `project`, None for no code.

    Raises InterpreterNotFoundError.
    """
    report = probe(place.python, runner=machine.runner, environ=machine.environ)
    here, _ = describe(report, memory=machine.make_memory())
    code = scan_code(project) if project else None
    needs = Needs(imported=frozenset(), gaps=())
    if code:
        needs = _find_needs(machine, code, report=report, lock=loaded.snapshot, here=here, python=place.python)
    drift = compare(loaded.snapshot, here, known=Known(imported=needs.imported))
    command = advise(drift, needs, here=here, place=place)
    return Status(loaded=loaded, here=here, drift=drift, code=code, gaps=needs.gaps, command=command)
