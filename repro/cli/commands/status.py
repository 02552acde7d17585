"""`repro status`."""

from __future__ import annotations

import shlex

from repro.cli import console
from repro.cli.drift_table import show_drift
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.environments.satisfy import look_here
from repro.errors import ExitCode
from repro.settings import choose_python
from repro.snapshots.drift import compare
from repro.snapshots.load import load_lock

_EXAMPLES = """\
  repro status                      ./requirements-lock.txt against the active environment
  repro status project/ --json
"""


def run(arguments: list[str]) -> int:
    """Compare a lock with an environment; exit 1 where they differ."""
    parser = make_parser("status", "Say what differs between a lock and an environment.", _EXAMPLES)
    parser.add_argument(
        "lock", nargs="?", default=".", metavar="DIR|LOCK", help="a lock or its directory (default: here)"
    )
    add_python(parser, "the interpreter to look at (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_cache(parser)
    options = parser.parse_args(arguments)
    loaded = load_lock(options.lock)
    machine = make_machine(options)
    python = choose_python(options.python, machine.environ)
    drift = compare(loaded.snapshot, look_here(machine, python))
    for sentence in loaded.notes:
        console.warn(sentence)
    if options.json:
        content = {"lock": str(loaded.path), "python": python, "equal": not drift, "differences": drift.to_dict()}
        console.show_json(content)
    elif drift:
        show_drift(drift, before="locked", after="installed")
        console.say(f"\nrestore it: repro restore {shlex.quote(options.lock)}   lock what is here: repro snapshot")
    else:
        console.say(f"{python} equals {loaded.path}: {len(loaded.snapshot.distributions)} distributions")
    return ExitCode.NO if drift else ExitCode.DONE
