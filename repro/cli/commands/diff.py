"""`repro diff`."""

from __future__ import annotations

import shlex

from repro.cli import console
from repro.cli.drift_table import list_remarks, show_drift
from repro.cli.operands import HERE, Operand, load_operand
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.errors import ExitCode, UsageError
from repro.settings import choose_python
from repro.snapshots.drift import Drift, compare
from repro.snapshots.mend import Place, advise_environment

_EXAMPLES = """\
  repro diff old/requirements-lock.txt new/requirements-lock.txt
  repro diff projectA projectB --json
  repro diff project .                   the lock of project, and this environment
  repro diff 5f0c91e2a4b84c6f9d3e7a8b1c2d3e4f model/
"""
_OPERANDS = """\
operands:
  .              the environment: --python, else the active one (`./` is the lock in this directory)
  DIR or FILE    a lock or its directory, a model (a directory with `MLmodel`), pylock.toml, a run's directory
  RUN_ID         a run of MLFLOW_TRACKING_URI, else of ./mlruns; `runs:/RUN_ID/PATH` is a model it has logged
"""


def _advise(drift: Drift, before: Operand, after: Operand, *, words: tuple[str, str], place: Place) -> str | None:
    """Return the command that makes this environment like the first, else the one that restores the first."""
    if not drift:
        return None
    if words[1] == HERE and before.lock:
        return advise_environment(drift, here=after.snapshot, place=place)
    lock = before.lock or after.lock
    return shlex.join(["repro", "restore", lock]) if lock else None


def run(arguments: list[str]) -> int:
    """Compare two snapshots; exit 1 where they differ."""
    parser = make_parser("diff", "Say what differs between two snapshots, and how much it matters.", _EXAMPLES)
    parser.epilog = f"{_OPERANDS}\n{parser.epilog}"
    parser.add_argument("before", metavar="A", help="what was asked for")
    parser.add_argument("after", metavar="B", help="what is there")
    add_python(parser, "the interpreter that `.` means (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_cache(parser)
    options = parser.parse_args(arguments)
    words = (options.before, options.after)
    if words == (HERE, HERE):
        raise UsageError("`.` is this environment, and both sides are it", hint="`./` is the lock in this directory")
    machine = make_machine(options)
    python = choose_python(options.python, machine.environ)
    before, after = (load_operand(word, machine=machine, choose=lambda: python) for word in words)
    drift = compare(before.snapshot, after.snapshot)
    place = Place(lock=before.lock or "", python=python, is_given=options.python is not None)
    command = _advise(drift, before, after, words=words, place=place)
    for sentence in (*before.notes, *after.notes):
        console.warn(sentence)
    for sentence in list_remarks(before.snapshot.interpreter, after.snapshot.interpreter):
        console.note(sentence)
    if options.json:
        sides = {"before": before.label, "after": after.label, "equal": not drift}
        console.show_json({**sides, **drift.to_dict(), "command": command})
    elif drift:
        show_drift(drift, before="before", after="after")
        if command:
            console.say(f"\nmend it: {command}")
    else:
        console.say("no difference")
    return ExitCode.NO if drift else ExitCode.DONE
