"""Run what was asked for to its end, for each command that runs one thing."""

from __future__ import annotations

import argparse
import os

from repro import settings
from repro.cli import console
from repro.cli.options import make_machine
from repro.environments.lookup import find_looked_up, name_options
from repro.environments.retake import begin_sweep
from repro.environments.store import Store, locate_store
from repro.errors import ReproError
from repro.projects.managers import EnvManager, choose_manager
from repro.projects.request import RunRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.projects.result import RunResult
    from repro.snapshots.sweep import SweepAhead


def _find_environment(store: Store, request: RunRequest, environ: dict[str, str]) -> str | None:
    """Return the directory of the environment that a project here was restored to before."""
    python = settings.locate_python(request.python, environ) if request.python else None
    options = name_options(python=python, allow_missing=False)
    try:
        with open(os.path.join(request.uri, "requirements-lock.txt"), "rb") as file:
            return find_looked_up(store, file.read(), options)
    except OSError:
        return None


def _begin_sweep(options: argparse.Namespace, request: RunRequest) -> SweepAhead | None:
    """Begin to look at the files that the run will use, while what runs it is imported: each takes as long.

    A guess: what turns out to be another environment is looked at then.
    """
    environ = settings.own_environment()
    if not request.snapshot:
        return None
    try:
        store = Store(locate_store(options.cache or settings.get_cache_dir(environ)))
        store.check()
        manager = choose_manager(request.env_manager, restore=request.restore, environ=environ)
        if manager in (None, EnvManager.LOCAL):
            return begin_sweep(store, settings.choose_python(request.python, environ), environ)
        env_dir = _find_environment(store, request, environ)
        return begin_sweep(store, f"{env_dir}/bin/python", environ, env_dir=env_dir) if env_dir else None
    except ReproError:
        return None  # it is said when it is met again


def run_request(options: argparse.Namespace, request: RunRequest) -> RunResult:
    """Run to the end, with messages on stderr."""
    ahead = _begin_sweep(options, request)
    from repro.projects.run import run_project

    with console.Progress() as progress:

        def say(sentence: str) -> None:
            progress.stop()
            console.note(sentence)

        return run_project(make_machine(options, report=progress, ahead=ahead), request, say=say)
