"""Run one script as a tracked run, for the commands that name a file and not a project."""

from __future__ import annotations

import argparse

from repro import settings
from repro.cli import console
from repro.cli.options import add_cache, add_python, make_machine
from repro.projects.request import RunRequest
from repro.projects.result import RunResult
from repro.projects.run import run_project


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that a run of a script shares with `repro run`."""
    parser.add_argument("--restore", action="store_true", help="run in the environment of the project's lock")
    parser.add_argument("--no-snapshot", action="store_true", help="take no snapshot")
    parser.add_argument("--no-observe", action="store_true", help="do not note what the run imports (REPRO_OBSERVE=0)")
    add_python(parser, "the interpreter to run with, or to restore on")
    add_cache(parser)


def wants_restore(options: argparse.Namespace) -> bool:
    """Tell whether the options, or the environment's `REPRO_RESTORE`, ask for the lock's environment."""
    return bool(options.restore) or settings.wants_restore(settings.own_environment())


def run_request(options: argparse.Namespace, request: RunRequest) -> RunResult:
    """Run to the end, with messages on stderr."""
    with console.Progress() as progress:

        def say(sentence: str) -> None:
            progress.stop()
            console.note(sentence)

        return run_project(make_machine(options, report=progress), request, say=say)
