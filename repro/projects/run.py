"""Run a project's entry point and keep the run: parameters, status, exit code, source, and the snapshot it ran on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.formats.run_meta import RunInfo
from repro.projects.asked import Asked, adapt, read_request
from repro.projects.assignments import fetch_remote
from repro.projects.backend import Terminal, get_backend
from repro.projects.downloads import make_download_dir
from repro.projects.execution import Execution, execute
from repro.projects.request import RunRequest
from repro.projects.result import RunResult
from repro.projects.run_life import begin, find_place, finishing, prepare_in_run
from repro.projects.source import open_source
from repro.tracking.store import open_store
from repro.values import replace


def _run(
    machine: Machine,
    request: RunRequest,
    asked: Asked,
    *,
    say: Callable[[str], None],
    note_begun: Callable[[RunInfo], None],
) -> RunResult:
    for note in asked.project.notes:
        say(f"warning: {note}")
    backend = get_backend(request.backend, machine.runner, request.backend_config)
    store = open_store(settings.find_tracking_uri(machine.environ), cwd=Path.cwd())
    storage_dir = request.storage_dir or settings.find_storage_dir(machine.environ)
    with ExitStack() as stack:
        download_dir = stack.enter_context(make_download_dir(storage_dir, say))
        asked = replace(asked, values=fetch_remote(asked.values, download_dir, environ=machine.environ))
        place = find_place(machine, request, asked, store, say)
        info = begin(machine, request, asked, store, experiment_id=place, params=asked.values.given)
        stack.enter_context(finishing(store, info.run_id, say))
        note_begun(info)
        execution = Execution(
            machine=machine,
            request=request,
            asked=asked,
            prepared=prepare_in_run(machine, request, asked, store, info.run_id, say),
            store=store,
            info=info,
            backend=backend,
            say=say,
            announce=say,
            terminal=Terminal(stdout_to_stderr=request.stdout_to_stderr),
        )
        return execute(execution)


def _ignore(info: RunInfo) -> None:
    pass


def run_project(
    machine: Machine,
    request: RunRequest,
    *,
    say: Callable[[str], None],
    note_begun: Callable[[RunInfo], None] = _ignore,
) -> RunResult:
    """Run an entry point to its end; `say` gets each message for the user, `note_begun` the run once it exists.

    What is asked for is checked, and what parameters name is fetched, before the run exists; it begins before its
    environment is made: that takes time, may fail through no fault of the request, and then leaves a FAILED run that
    says why. Raises ReproError up to there; afterwards the child's exit code tells.
    """
    with open_source(machine, request.uri, version=request.version, offline=request.offline, say=say) as source:
        request = adapt(request, source, say)
        return _run(machine, request, read_request(machine, request, source), say=say, note_begun=note_begun)
