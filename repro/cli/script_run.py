"""Run what was asked for to its end, for each command that runs one thing."""

from __future__ import annotations

import argparse

from repro.cli import console
from repro.cli.options import make_machine
from repro.projects.request import RunRequest
from repro.projects.result import RunResult
from repro.projects.run import run_project


def run_request(options: argparse.Namespace, request: RunRequest) -> RunResult:
    """Run to the end, with messages on stderr."""
    with console.Progress() as progress:

        def say(sentence: str) -> None:
            progress.stop()
            console.note(sentence)

        return run_project(make_machine(options, report=progress), request, say=say)
