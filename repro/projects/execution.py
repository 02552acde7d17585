"""Run the command of a run that has begun, keep what comes of it, and end the run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.formats.lockfile import FILE_NAME as LOCK
from repro.formats.run_meta import RunInfo, RunStatus
from repro.patterns import compile_later
from repro.process import Ended, Leash
from repro.projects.asked import Asked
from repro.projects.backend import Backend, Task, Terminal
from repro.projects.child import make_child_environment
from repro.projects.endpoint import serving
from repro.projects.output import keeping_output
from repro.projects.prepared import Prepared, keep_snapshot
from repro.projects.recorder import Recorder, make_observe_dir
from repro.projects.request import RunRequest
from repro.projects.result import RunResult
from repro.projects.run_life import finish
from repro.projects.script import format_run_command
from repro.tracking.file_store import FileStore
from repro.tracking.store import Store
from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.projects.failure import Failure
    from repro.snapshots.hardware import Hardware

_LEADING_PYTHON = compile_later(r"^python3?(?=\s|$)")
TIMED_OUT = 124  # as timeout(1) has it


@frozen
class Execution:
    """A run that has begun, and all that its command needs.

    `say` gets warnings, `announce` what everybody may skip: that it starts, and how it has ended. Without `terminal` it
    runs beside others, and ends where `leash` is pulled.
    """

    machine: Machine
    request: RunRequest
    asked: Asked
    prepared: Prepared
    store: Store
    info: RunInfo
    backend: Backend
    say: Callable[[str], None]
    announce: Callable[[str], None]
    terminal: Terminal | None = None
    hardware: Hardware | None = None
    leash: Leash = field(default_factory=Leash)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.info.run_id

    @property
    def command(self) -> str:
        """The shell command: the environment's own Python, each value quoted once."""
        command = format_run_command(self.asked.entry, self.asked.values.passed, self.request.words)
        return _LEADING_PYTHON.sub(lambda _: shlex.quote(self.prepared.python), command)


def _make_recorder(execution: Execution, observe_dir: str | None) -> Recorder:
    held = execution.prepared.held
    return Recorder(
        runner=execution.machine.runner,
        taken=held.taken if held else None,
        store=execution.store,
        run_id=execution.run_id,
        observe_dir=observe_dir,
        say=execution.say,
        project_dir=execution.asked.project.root,
        hardware=execution.hardware,
    )


def _find_lock(execution: Execution) -> Path | None:
    """Return the lock of what the run runs in: its own copy where that lies in a directory, else what was restored."""
    store, prepared = execution.store, execution.prepared
    if isinstance(store, FileStore) and (prepared.held or prepared.environment):
        return store.open_artifacts(execution.run_id).locate(LOCK)
    return prepared.lock if prepared.environment else None


def _keep_code(execution: Execution) -> None:
    source = execution.asked.source
    if "mlflow.source.git.commit" not in source.tags:
        return
    from repro.tracking.git_source import find_git_source

    commit = find_git_source(source.root)
    if commit and (commit.changed or commit.untracked):
        from repro.tracking.code_diff import keep_code_diff

        keep_code_diff(execution.store, execution.run_id, source.root)


def _run_task(
    execution: Execution, command: str, environ: dict[str, str], recorder: Recorder
) -> tuple[Ended, Failure | None]:
    """Run the command to its end, and read why it failed in what it wrote."""
    with recorder.recording(environ), keeping_output(execution.store, execution.run_id) as output:
        task = Task(
            run_id=execution.run_id,
            experiment_id=execution.info.experiment_id,
            command=command,
            project_dir=execution.asked.project.root,
            environ=environ,
            python=execution.prepared.python,
            lock=_find_lock(execution),
            output=output,
            terminal=execution.terminal,
            timeout_s=execution.request.timeout_s,
            leash=execution.leash,
            meanwhile=recorder.prepare,
            config=execution.request.backend_config,
        )
        ended = execution.backend.execute(task)
        if not ended.exit_code or ended.timed_out:
            return ended, None
        from repro.projects.failure import find_failure

        return ended, find_failure(output.name)


def _judge(ended: Ended) -> tuple[int, RunStatus]:
    """Return a run's exit code and status, by how its child ended."""
    if ended.timed_out:
        return TIMED_OUT, RunStatus.KILLED
    if ended.exit_code == 0:
        return 0, RunStatus.FINISHED
    return ended.exit_code, RunStatus.KILLED if ended.exit_code > 128 else RunStatus.FAILED


def _locate_artifacts(execution: Execution) -> str:
    """Return the directory of a run's artifacts, of a server's the URI."""
    store, info = execution.store, execution.info
    return str(store.open_artifacts(info.run_id).root) if isinstance(store, FileStore) else info.artifact_uri


def _end(
    execution: Execution, ended: Ended, failure: Failure | None, *, digest: str | None, used: int | None
) -> RunResult:
    store, run_id, say = execution.store, execution.run_id, execution.announce
    if ended.timed_out:
        say(f"the run was ended after {execution.request.timeout_s:g} s")
    exit_code, status = _judge(ended)
    store.set_tag(run_id, "repro.exit_code", str(exit_code))
    status = finish(store, run_id, status)
    say(f"=== Run (ID '{run_id}') {'succeeded' if status is RunStatus.FINISHED else status.name.lower()} ===")
    if failure and status is RunStatus.FAILED:
        from repro.projects.failure import tell_failure

        tell_failure(failure, store, run_id, say)
    return RunResult(
        run_id=run_id,
        experiment_id=execution.info.experiment_id,
        status=status,
        exit_code=exit_code,
        artifacts=_locate_artifacts(execution),
        digest=digest,
        environment=execution.prepared.environment,
        used=used,
        failure=failure.fault if failure else None,
    )


def execute(execution: Execution) -> RunResult:
    """Run the command to its end, end the run, and return how it ended."""
    request, environ, store = execution.request, execution.machine.environ, execution.store
    observe = request.observe and settings.wants_observation(environ)
    with ExitStack() as stack:
        observe_dir = stack.enter_context(make_observe_dir(wanted=observe))
        tracking = stack.enter_context(serving(store, execution.run_id, environ))
        digest = keep_snapshot(execution.prepared, execution.asked.source, store, execution.run_id)
        _keep_code(execution)
        child = make_child_environment(
            request, execution.asked, execution.prepared, execution.info, tracking, observe_dir=observe_dir
        )
        recorder = _make_recorder(execution, observe_dir)
        command = execution.command
        execution.announce(f"=== Running command '{command}' in run with ID '{execution.run_id}' ===")
        ended, failure = _run_task(execution, command, child, recorder)
    return _end(execution, ended, failure, digest=digest, used=recorder.used)
