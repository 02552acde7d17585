"""`repro status`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.drift_table import list_remarks, show_drift, show_gaps
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.environments.status import Status, take_status
from repro.errors import ExitCode
from repro.settings import choose_python
from repro.snapshots.load import load_lock
from repro.snapshots.mend import Place

_EXAMPLES = """\
  repro status                      ./requirements-lock.txt, the active environment, and the code here
  repro status project/ --json
  repro status project/ --no-code   the lock and the environment only
"""


def _to_dict(status: Status, python: str) -> dict[str, object]:
    code = status.code
    return {
        "lock": str(status.loaded.path),
        "python": python,
        "equal": not status.drift,
        "agrees": status.agrees,
        "differences": status.drift.to_dict(),
        "code": None
        if code is None
        else {
            "root": str(code.root),
            "files": code.files,
            "gaps": [gap.to_dict() for gap in status.gaps],
            "unreadable": [{"file": file, "reason": reason} for file, reason in code.unreadable],
        },
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
    for sentence in _list_notes(status):
        console.warn(sentence)
    for sentence in list_remarks(loaded.snapshot.interpreter, status.here.interpreter):
        console.note(sentence)
    if options.json:
        console.show_json(_to_dict(status, python))
    else:
        _show(status, python)
    return ExitCode.DONE if status.agrees else ExitCode.NO
