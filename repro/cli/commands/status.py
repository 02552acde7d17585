"""`repro status`."""

from __future__ import annotations

from pathlib import Path

from repro.cli import console
from repro.cli.drift_table import list_remarks, show_drift, show_gaps
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.environments.machine import Machine
from repro.environments.status import Status, take_status
from repro.errors import ExitCode
from repro.formats.r_dependencies import FILE_NAME, RDifference, compare_r, parse_r_dependencies
from repro.settings import choose_python
from repro.snapshots.load import load_lock
from repro.snapshots.mend import Place
from repro.snapshots.r_installed import find_installed_r
from repro.values import frozen

_EXAMPLES = """\
  repro status                      ./requirements-lock.txt, the active environment, and the code here
  repro status project/ --json
  repro status project/ --no-code   the lock and the environment only
"""


@frozen
class _R:
    """The record of R beside a lock, and what differs from it here."""

    path: Path
    packages: int
    differences: tuple[RDifference, ...]

    def to_dict(self) -> dict[str, object]:
        """Return it for `--json`."""
        differences = [
            {"name": each.name, "recorded": each.recorded, "installed": each.installed} for each in self.differences
        ]
        return {"file": str(self.path), "packages": self.packages, "differences": differences}


def _look_at_r(machine: Machine, directory: Path) -> _R | None:
    """Compare `r-dependencies.txt` with this machine's R, None where there is no such file."""
    path = directory / FILE_NAME
    if not path.is_file():
        return None
    recorded = parse_r_dependencies(path.read_text(encoding="utf-8", errors="replace"), where=str(path))
    found = find_installed_r(machine.runner, machine.environ)
    return _R(path=path, packages=len(recorded.packages), differences=compare_r(recorded, found, missing=True))


def _show_r(r: _R) -> None:
    if not r.differences:
        console.say(f"R equals {r.path}: {r.packages} packages")
        return
    rows = [(each.name, each.recorded, each.installed or "not installed") for each in r.differences]
    console.show_table(("R", "recorded", "installed"), rows)


def _to_dict(status: Status, python: str, r: _R | None) -> dict[str, object]:
    code = status.code
    return {
        "lock": str(status.loaded.path),
        "python": python,
        "equal": not status.drift,
        "agrees": status.agrees and not (r and r.differences),
        "differences": status.drift.to_dict(),
        "code": None
        if code is None
        else {
            "root": str(code.root),
            "files": code.files,
            "gaps": [gap.to_dict() for gap in status.gaps],
            "unreadable": [{"file": file, "reason": reason} for file, reason in code.unreadable],
        },
        "r": r.to_dict() if r else None,
        "command": status.command,
    }


def _list_notes(status: Status) -> list[str]:
    notes = [*status.loaded.notes, *(status.code.notes if status.code else ())]
    unreadable = status.code.unreadable if status.code else ()
    return [*notes, *(f"`{file}` was not read for its imports: {reason}" for file, reason in unreadable)]


def _show(status: Status, python: str) -> None:
    show_drift(status.drift, before="locked", after="installed")
    if status.drift and status.gaps:
        console.say("")
    show_gaps(status.gaps)
    if status.agrees:
        code = f", and provides what {status.code.files} Python files import" if status.code else ""
        console.say(f"{python} equals {status.loaded.path}: {len(status.here.distributions)} distributions{code}")
    elif status.command:
        console.say(f"\nmend it: {status.command}")


def run(arguments: list[str]) -> int:
    """Compare a lock with an environment and with the code beside it; exit 1 where they do not agree."""
    parser = make_parser("status", "Say what differs between a lock, an environment, and the code.", _EXAMPLES)
    parser.add_argument(
        "lock", nargs="?", default=".", metavar="DIR|LOCK", help="a lock or its directory (default: here)"
    )
    parser.add_argument("--no-code", action="store_true", help="do not look at what the code imports")
    add_python(parser, "the interpreter to look at (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_cache(parser)
    options = parser.parse_args(arguments)
    machine = make_machine(options)
    python = choose_python(options.python, machine.environ)
    loaded = load_lock(options.lock, get_python=lambda: machine.make_finder().examine(python).interpreter)
    place = Place(lock=options.lock, python=python, is_given=options.python is not None)
    status = take_status(machine, loaded, place=place, project=None if options.no_code else loaded.path.parent)
    r = _look_at_r(machine, loaded.path.parent)
    for sentence in _list_notes(status):
        console.warn(sentence)
    for sentence in list_remarks(loaded.snapshot.interpreter, status.here.interpreter):
        console.note(sentence)
    if options.json:
        console.show_json(_to_dict(status, python, r))
    else:
        _show(status, python)
        if r:
            _show_r(r)
    return ExitCode.DONE if status.agrees and not (r and r.differences) else ExitCode.NO
