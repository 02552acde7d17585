"""Run a project's entry point and keep the run: parameters, status, exit code, source, and the snapshot it ran on."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from repro import settings
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.restore import Check, Request, restore_environment
from repro.environments.satisfy import restore_or_warn
from repro.environments.snapshot import Outcome, take_for, write_lock
from repro.errors import ReproError, Terminated
from repro.formats.lockfile import FILE_NAME, format_snapshot
from repro.formats.mlproject import EntryPoint, format_command
from repro.formats.run_meta import RunInfo, RunStatus
from repro.projects.assignments import parse_assignments, resolve_parameters
from repro.projects.endpoint import Tracking, serving
from repro.projects.location import show_uri
from repro.projects.output import keeping_output
from repro.projects.project import open_project
from repro.projects.recorder import Recorder, make_observe_dir
from repro.projects.rerun import format_given
from repro.projects.source import Source, open_source
from repro.settings import choose_python
from repro.snapshots.probe import probe
from repro.tracking.active_experiment import find_experiment_id
from repro.tracking.client import Client
from repro.tracking.code_diff import keep_code_diff
from repro.tracking.entities import Batch, NewRun
from repro.tracking.file_store import FileStore, now_ms
from repro.tracking.process_mark import TAG as PROCESS_TAG
from repro.tracking.process_mark import mark_process
from repro.tracking.snapshot_tags import make_snapshot_tags
from repro.tracking.store import Store, open_store, write_text

_LEADING_PYTHON = re.compile(r"^python3?(?=\s|$)")
TIMED_OUT = 124  # as timeout(1) has it
_PACKAGE_DIR = Path(__file__).resolve().parents[1]
_LEND_DIR = str(_PACKAGE_DIR / "inside" / "lend")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a caller asks for; `parameters` are `name=value` texts, `version` is a ref of a git repository.

    `restore` is None where nobody has said: a run that is run again has its own snapshot restored then.
    """

    uri: str = "."
    entry_point: str | None = None
    parameters: tuple[str, ...] = ()
    version: str | None = None
    offline: bool = False
    restore: bool | None = None
    snapshot: bool = True
    observe: bool = True
    python: str | None = None
    stdout_to_stderr: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended: its id, status, the child's exit code (128+N for signal N), and where its snapshot is kept.

    `used` is how many distributions it has used, None where that was not observed.
    """

    run_id: str
    experiment_id: str
    status: RunStatus
    exit_code: int
    artifacts: str
    digest: str | None
    environment: Environment | None
    used: int | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the result for `--json`."""
        return {
            "run_id": self.run_id,
            "experiment_id": self.experiment_id,
            "status": self.status.name,
            "exit_code": self.exit_code,
            "stage": "child",
            "artifacts": self.artifacts,
            "digest": self.digest,
            "used": self.used,
            "restored": self.environment is not None,
            "environment": self.environment.to_dict() if self.environment else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """The interpreter a run will use, what it holds, and the environment where it was restored."""

    python: str
    prefix: str
    environment: Environment | None
    outcome: Outcome | None


def _format_rerun(request: RunRequest) -> str:
    """Return the command that runs the same, restored."""
    words = ["repro", "run", show_uri(request.uri)]
    words += ["--version", request.version] if request.version else []
    words += ["-e", request.entry_point] if request.entry_point else []
    words += [word for assignment in request.parameters for word in ("-P", assignment)]
    return shlex.join([*words, "--restore"])


def _take(machine: Machine, python: str, *, path: Path, say: Callable[[str], None]) -> Outcome | None:
    """Take the run's snapshot; failing to is a warning, not the end of the run."""
    try:
        outcome = take_for(machine, python, path=path)
    except ReproError as error:
        say(f"warning: no snapshot was taken: {error.message}")
        return None
    for sentence in outcome.notes:
        say(f"warning: {sentence}")
    return outcome


def _prepare(machine: Machine, request: RunRequest, source: Source, say: Callable[[str], None]) -> _Prepared:
    """Find or restore the environment, and take its snapshot."""
    lock = source.snapshot
    wanted = Request(lock=lock, python=request.python, offline=request.offline, check=Check.FILES)
    environment = restore_environment(machine, wanted) if request.restore else None
    for sentence in environment.notes if environment else ():
        say(f"warning: {sentence}")
    python = environment.python if environment else choose_python(request.python, machine.environ)
    outcome = _take(machine, python, path=lock, say=say) if request.snapshot else None
    if outcome:
        python, prefix = outcome.taken.python, outcome.taken.prefix
    else:
        report = probe(python, runner=machine.runner, environ=machine.environ, scope="interpreter")
        python, prefix = report.executable, report.prefix
    if environment is None and lock.exists():
        here = outcome.taken.snapshot if outcome else None
        satisfied = Request(lock=lock, python=python)
        restore_or_warn(machine, satisfied, restore=False, here=here, command=_format_rerun(request))
    return _Prepared(python=python, prefix=prefix, environment=environment, outcome=outcome)


def _keep_snapshot(prepared: _Prepared, source: Source, store: Store, run_id: str) -> str | None:
    """Keep the snapshot with the run, and with the user's own project where it has none; return its digest."""
    if prepared.outcome is None:
        return None
    snapshot = prepared.outcome.taken.snapshot
    write_text(store, run_id, FILE_NAME, format_snapshot(snapshot))
    lock = source.snapshot
    if source.is_own and not lock.exists() and os.access(source.root, os.W_OK):
        write_lock(snapshot, lock)
    return snapshot.compute_digest()


def _make_tags(source: Source, entry: EntryPoint, prepared: _Prepared, given: Sequence[str]) -> dict[str, str]:
    tags = {
        "mlflow.source.type": "PROJECT",
        "mlflow.project.entryPoint": entry.name,
        "mlflow.project.backend": "local",
        "mlflow.project.env": "repro" if prepared.environment else "local",
        PROCESS_TAG: mark_process(),
        "repro.restored": "true" if prepared.environment else "false",
    }
    if prepared.outcome:
        tags |= make_snapshot_tags(prepared.outcome.taken.snapshot)
    if prepared.environment:
        tags["repro.env.key"] = prepared.environment.key
    return {**tags, **format_given(given), **source.tags}


def _make_environment(
    machine: Machine, prepared: _Prepared, info: RunInfo, tracking: Tracking, *, observe_dir: str | None
) -> dict[str, str]:
    """Return the child's environment: its calls land in the run, and it can import repro."""
    environ = dict(tracking.environ)
    if prepared.environment:
        bin_dir = os.path.dirname(prepared.python)
        environ = settings.make_sealed_environment(environ, bin_dir=bin_dir, prefix=prepared.prefix)
    environ = settings.make_run_environment(
        environ,
        python=prepared.python,
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        tracking_uri=tracking.uri,
    )
    yaml = importlib.util.find_spec("yaml")
    packages = {"repro": str(_PACKAGE_DIR)}
    if yaml and yaml.origin:
        packages["yaml"] = os.path.dirname(yaml.origin)
    settings.set_record(environ, snapshot=prepared.outcome is not None, observe_dir=observe_dir)
    settings.lend_packages(environ, prefix=prepared.prefix, lend_dir=_LEND_DIR, packages=packages)
    return environ


@contextmanager
def _make_download_dir(say: Callable[[str], None]) -> Iterator[None]:
    """Have a directory for what `path` parameters bring from elsewhere, for the time of the run."""
    directory = tempfile.mkdtemp(prefix="repro-run-")
    say(f"=== Created directory {directory} for remote files of parameters of type 'path' ===")
    try:
        yield
    finally:
        with suppress(OSError):
            os.rmdir(directory)


def _status_of(exit_code: int) -> RunStatus:
    if exit_code == 0:
        return RunStatus.FINISHED
    return RunStatus.KILLED if exit_code > 128 else RunStatus.FAILED


def _locate_artifacts(store: Store, info: RunInfo) -> str:
    """Return the directory of a run's artifacts, of a server's the URI."""
    return str(store.open_artifacts(info.run_id).root) if isinstance(store, FileStore) else info.artifact_uri


def _finish(store: Store, run_id: str, status: RunStatus) -> RunStatus:
    """Set the final status; what the script itself said of its failure wins."""
    own = store.get_run(run_id).info.status
    final = own if own in (RunStatus.FAILED, RunStatus.KILLED) else status
    store.update_run(run_id, status=final, end_time_ms=now_ms())
    return final


@contextmanager
def _finishing(store: Store, run_id: str, say: Callable[[str], None]) -> Iterator[None]:
    """Leave no run RUNNING: what interrupts us kills it, any other error makes it FAILED."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Terminated)
        status = _finish(store, run_id, RunStatus.KILLED if interrupted else RunStatus.FAILED)
        say(f"=== Run (ID '{run_id}') {status.name.lower()} ===")
        raise


def _adapt(request: RunRequest, source: Source, say: Callable[[str], None]) -> RunRequest:
    """Return a request with what a run that is run again says; what the caller says wins."""
    if source.rerun_of is None:
        return request
    named = parse_assignments(request.parameters)
    kept = tuple(f"{name}={value}" for name, value in source.parameters.items() if name not in named)
    if source.lock is None and request.restore is None:
        say(f"warning: run {source.rerun_of} has no snapshot: it is run again in your environment")
    return replace(
        request,
        entry_point=request.entry_point or source.entry_point,
        parameters=kept + request.parameters,
        restore=source.lock is not None if request.restore is None else request.restore,
    )


def run_project(machine: Machine, request: RunRequest, *, say: Callable[[str], None]) -> RunResult:
    """Run an entry point to its end; `say` gets each message for the user.

    Raises ReproError before the run exists; afterwards the child's exit code tells.
    """
    with open_source(machine, request.uri, version=request.version, offline=request.offline, say=say) as source:
        return _run(machine, _adapt(request, source, say), source, say=say)


def _run(machine: Machine, request: RunRequest, source: Source, *, say: Callable[[str], None]) -> RunResult:
    project = open_project(source.root)
    entry = project.get_entry_point(request.entry_point, shell=settings.get_shell(machine.environ))
    given = parse_assignments(request.parameters)
    values = resolve_parameters(entry, given, project_dir=project.root, cwd=Path.cwd())
    command = format_command(entry, values)
    store = open_store(settings.find_tracking_uri(machine.environ), cwd=Path.cwd())
    prepared = _prepare(machine, request, source, say)
    command = _LEADING_PYTHON.sub(lambda _: shlex.quote(prepared.python), command)
    new = NewRun(
        experiment_id=find_experiment_id(Client(store=store), machine.environ),
        user_id=settings.get_user(machine.environ),
        start_time_ms=now_ms(),
        tags=_make_tags(source, entry, prepared, tuple(given)),
    )
    info = store.create_run(new).info
    observe = request.observe and settings.wants_observation(machine.environ)
    with (
        _finishing(store, info.run_id, say),
        _make_download_dir(say),
        make_observe_dir(wanted=observe) as observe_dir,
        serving(store, info.run_id, machine.environ) as tracking,
    ):
        digest = _keep_snapshot(prepared, source, store, info.run_id)
        if "mlflow.source.git.commit" in source.tags:
            keep_code_diff(store, info.run_id, source.root)
        store.log_batch(info.run_id, Batch(params=values))
        environ = _make_environment(machine, prepared, info, tracking, observe_dir=observe_dir)
        taken = prepared.outcome.taken if prepared.outcome else None
        recorder = Recorder(
            runner=machine.runner, taken=taken, store=store, run_id=info.run_id, observe_dir=observe_dir, say=say
        )
        say(f"=== Running command '{command}' in run with ID '{info.run_id}' ===")
        with recorder.recording(environ), keeping_output(store, info.run_id) as output:
            ended = machine.runner.supervise(
                ["bash", "-c", command],
                env=environ,
                cwd=str(project.root),
                stdout_to_stderr=request.stdout_to_stderr,
                copy=output,
                timeout_s=request.timeout_s,
                meanwhile=recorder.prepare,
            )
    if ended.timed_out:
        say(f"the run was ended after {request.timeout_s:g} s")
    exit_code = TIMED_OUT if ended.timed_out else ended.exit_code
    store.set_tag(info.run_id, "repro.exit_code", str(exit_code))
    status = _finish(store, info.run_id, RunStatus.KILLED if ended.timed_out else _status_of(exit_code))
    say(f"=== Run (ID '{info.run_id}') {'succeeded' if status is RunStatus.FINISHED else status.name.lower()} ===")
    return RunResult(
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        status=status,
        exit_code=exit_code,
        artifacts=_locate_artifacts(store, info),
        digest=digest,
        environment=prepared.environment,
        used=recorder.used,
    )
