"""`repro snapshot`."""

from __future__ import annotations

from pathlib import Path

from repro.cli import console
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.environments.interpreters import choose_python
from repro.environments.snapshot import Outcome, select_ring, take_for, write_lock
from repro.errors import ExitCode, UsageError
from repro.formats.lockfile import FILE_NAME
from repro.snapshots.pins import ENGINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.machine import Machine

_EXAMPLES = """\
  repro snapshot                       lock the active environment into ./requirements-lock.txt
  repro snapshot project/ --python .venv/bin/python
  repro snapshot --used                lock only what the newest run has used, and what that requires
  repro snapshot --check               exit 1 where the lock would change, and write nothing
"""


def _describe_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "empty"


def _show(outcome: Outcome, *, written: bool) -> None:
    snapshot = outcome.taken.snapshot
    python = snapshot.interpreter
    state = "written" if written else ("would change" if outcome.would_change else "up to date")
    version = f"Python {python.version}" if python else "Python"
    console.say(
        f"{outcome.path}: {state}: {len(snapshot.distributions)} distributions of {version} "
        f"({_describe_counts(snapshot.count())})"
    )
    if outcome.drift is not None:
        for change in outcome.drift.changes:
            console.say(f"  {change}")
        if not outcome.drift:
            console.say("  nothing changed since the last snapshot")


def _to_dict(outcome: Outcome, *, written: bool) -> dict[str, object]:
    snapshot = outcome.taken.snapshot
    return {
        "path": str(outcome.path),
        "python": outcome.taken.python,
        "digest": snapshot.compute_digest(),
        "distributions": len(snapshot.distributions),
        "counts": snapshot.count(),
        "written": written,
        "would_change": outcome.would_change,
        "changes": outcome.drift.to_dict() if outcome.drift is not None else None,
        "notes": list(outcome.notes),
    }


def _find_ring(run_id: str, directory: Path, machine: Machine) -> frozenset[str]:
    from repro.tracking.observed_runs import find_ring

    return find_ring(run_id, project_dir=directory, environ=machine.environ)


def run(arguments: list[str]) -> int:
    """Take a snapshot and write it, or with `--check` only say whether it would change."""
    parser = make_parser(
        "snapshot", "Write the lock of an environment: every distribution, its version, hashes.", _EXAMPLES
    )
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project (default: here)")
    parser.add_argument("-o", "--output", metavar="FILE", help=f"write here instead of DIR/{FILE_NAME}")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the digest would change")
    parser.add_argument("--allow-missing", action="store_true", help="leave out distributions that cannot be read")
    parser.add_argument("--engine", choices=ENGINES, help="where hashes are asked for (default: uv, then pip)")
    parser.add_argument(
        "--used", nargs="?", const="", metavar="RUN_ID",
        help="lock only what a run has used (default: the project's newest observed run), and what that requires",
    )  # fmt: skip
    add_python(parser, "the interpreter to lock (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_cache(parser)
    options = parser.parse_args(arguments)
    directory = Path(options.directory)
    if not directory.is_dir():
        raise UsageError(
            f"`{directory}` is not a directory", hint="name the project's directory, and the file with `-o`"
        )
    path = Path(options.output) if options.output else directory / FILE_NAME
    machine = make_machine(options, report=lambda stage: None)
    python = choose_python(options.python, machine.environ)
    ring = None if options.used is None else _find_ring(options.used, directory, machine)
    outcome = take_for(machine, python, path=path, engine=options.engine, allow_missing=options.allow_missing)
    outcome = outcome if ring is None else select_ring(outcome, ring)
    for sentence in outcome.notes:
        console.warn(sentence)
    if not options.check:
        write_lock(outcome.taken.snapshot, path)
    if options.json:
        console.show_json(_to_dict(outcome, written=not options.check))
    else:
        _show(outcome, written=not options.check)
    return ExitCode.NO if options.check and outcome.would_change else ExitCode.DONE
