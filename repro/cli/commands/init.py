"""`repro init`."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import console
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.environments.machine import Machine
from repro.environments.snapshot import take_for, write_lock
from repro.errors import ExitCode, UsageError
from repro.formats.lockfile import FILE_NAME
from repro.projects.starter import plan_starter, write_change
from repro.settings import choose_python

_EXAMPLES = """\
  repro init                              the lock, and a line of .gitignore
  repro init --vscode --pre-commit        tasks for VS Code, and a hook that compares the lock at each commit
  repro init --dry-run                    say what would be written
"""


def _make_lock(machine: Machine, options: argparse.Namespace, path: Path) -> str:
    """Take the lock where there is none, and return what becomes of it."""
    if path.exists():
        return "unchanged"
    if not options.dry_run:
        outcome = take_for(machine, choose_python(options.python, machine.environ), path=path)
        for sentence in outcome.notes:
            console.warn(sentence)
        write_lock(outcome.taken.snapshot, path)
    return "new"


def run(arguments: list[str]) -> int:
    """Make a directory a project; what is there already stays as it is."""
    parser = make_parser("init", "Make a directory a project: its lock, and what git and editors need.", _EXAMPLES)
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project (default: here)")
    parser.add_argument("--vscode", action="store_true", help="tasks for VS Code, in .vscode/tasks.json")
    parser.add_argument("--pre-commit", action="store_true", help="a hook that runs `repro snapshot --check`")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    add_python(parser, "the interpreter to lock (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_cache(parser)
    options = parser.parse_args(arguments)
    directory = Path(options.directory)
    if not directory.is_dir():
        raise UsageError(f"`{directory}` is not a directory", hint="make it first")
    with console.Progress(quiet=True) as progress:
        machine = make_machine(options, report=progress)
        changes = plan_starter(
            directory,
            vscode=options.vscode,
            pre_commit=options.pre_commit,
            runner=machine.runner,
            environ=machine.environ,
        )
        lock = directory / FILE_NAME
        deeds = [(str(lock), _make_lock(machine, options, lock))]
    for change in changes:
        if not options.dry_run:
            write_change(change)
        deeds.append((str(change.path), change.deed))
    if options.json:
        console.show_json(
            {"files": [{"path": path, "deed": deed} for path, deed in deeds], "written": not options.dry_run}
        )
        return ExitCode.DONE
    for path, deed in deeds:
        console.say(f"{path}: {'would be ' if options.dry_run and deed != 'unchanged' else ''}{deed}")
    return ExitCode.DONE
