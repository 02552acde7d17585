"""Run a project's entry point and keep the run: parameters, status, exit code, source, and the snapshot it ran on."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from repro import settings
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.restore import Request
from repro.environments.satisfy import restore_or_warn
from repro.environments.snapshot import Outcome, take_for, write_lock
from repro.errors import ReproError, Terminated, UsageError
from repro.files import make_directory, remove_tree
from repro.formats.lockfile import FILE_NAME, format_snapshot
from repro.formats.mlproject import EntryPoint
from repro.formats.run_meta import RunInfo, RunStatus
from repro.projects.assignments import Values, fetch_remote, parse_assignments, resolve_parameters
from repro.projects.endpoint import Tracking, serving
from repro.projects.env_manager import (
    Choice,
    EnvManager,
    LooseEnvironment,
    OwnEnvironment,
    choose_environment,
    choose_manager,
    find_script,
)
from repro.projects.environment import EnvironmentRequest, check_choice, make_environment
from repro.projects.failure import find_failure, tell_failure
from repro.projects.location import show_uri
from repro.projects.output import keeping_output
from repro.projects.project import Project, open_project
from repro.projects.r_record import R_PROFILE, require_r
from repro.projects.recorder import Recorder, make_observe_dir
from repro.projects.rerun import format_given
from repro.projects.script import format_run_command
from repro.projects.source import Source, open_source
from repro.projects.start_check import check_own_start, check_start
from repro.settings import choose_python
from repro.snapshots.probe import probe
from repro.tracking.active_experiment import find_experiment_id
from repro.tracking.client import Client
from repro.tracking.clock import now_ms
from repro.tracking.code_diff import keep_code_diff
from repro.tracking.entities import Batch, NewRun
from repro.tracking.file_store import FileStore
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
    `env_manager` is a word of ENV_MANAGERS, `restore` short for that of this name. `as_of` and `more` are those of an
    EnvironmentRequest. What paths name elsewhere is kept in `storage_dir`, without one for the time of the run. With
    `words` these are what the entry point gets, and the parameters are what is kept of them.
    """

    uri: str = "."
    entry_point: str | None = None
    parameters: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None
    version: str | None = None
    offline: bool = False
    restore: bool | None = None
    snapshot: bool = True
    observe: bool = True
    python: str | None = None
    stdout_to_stderr: bool = False
    timeout_s: float | None = None
    env_manager: str | None = None
    as_of: str | None = None
    more: tuple[str, ...] = ()
    write_lock: bool = False
    storage_dir: str | None = None
    lenient_types: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended: its id, status, the child's exit code (128+N for signal N), and where its snapshot is kept.

    `used` is how many distributions it has used, None where that was not observed; `failure` is what it ended with.
    """

    run_id: str
    experiment_id: str
    status: RunStatus
    exit_code: int
    artifacts: str
    digest: str | None
    environment: Environment | None
    used: int | None = None
    failure: str | None = None

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
            "failure": self.failure,
            "restored": self.environment is not None,
            "environment": self.environment.to_dict() if self.environment else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """The interpreter a run will use, what it holds, and the environment where it was restored, of which lock."""

    python: str
    prefix: str
    environment: Environment | None
    outcome: Outcome | None
    lock: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a run does, once all that can be told before it exists is checked."""

    source: Source
    project: Project
    entry: EntryPoint
    values: Values
    choice: Choice
    environment: EnvironmentRequest


def _format_rerun(request: RunRequest) -> str:
    """Return the command that runs the same, restored."""
    words = ["repro", "run", show_uri(request.uri)]
    words += ["--version", request.version] if request.version else []
    words += ["-e", request.entry_point] if request.entry_point else []
    words += [word for assignment in request.parameters for word in ("-P", assignment)]
    words += ["--as-of", request.as_of] if request.as_of else []
    words += [word for requirement in request.more for word in ("--with", requirement)]
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


def _read_request(machine: Machine, request: RunRequest, source: Source) -> _Asked:
    """Read the project and check all that the caller and its files say. Raises UsageError and ProjectError."""
    project = open_project(source.root)
    entry = project.get_entry_point(request.entry_point, shell=settings.get_shell(machine.environ))
    values = resolve_parameters(
        entry,
        parse_assignments(request.parameters),
        project_dir=project.root,
        cwd=Path.cwd(),
        lenient=request.lenient_types or settings.wants_lenient_types(machine.environ),
    )
    require_r(format_run_command(entry, values.passed, request.words), machine.environ)
    environment = EnvironmentRequest(
        root=project.root,
        script=find_script(project.root, entry),
        manager=choose_manager(request.env_manager, restore=request.restore, environ=machine.environ),
        offline=request.offline,
        python=request.python,
        as_of=request.as_of or settings.find_as_of(machine.environ),
        more=request.more,
        write_lock=request.write_lock,
    )
    choice = choose_environment(project, entry, environment.manager, lock=source.lock)
    check_choice(machine, choice, environment)
    return _Asked(source=source, project=project, entry=entry, values=values, choice=choice, environment=environment)


def _prepare(machine: Machine, request: RunRequest, asked: _Asked, say: Callable[[str], None]) -> _Prepared:
    """Make the environment where it is not the caller's own, and take its snapshot."""
    root, environment, lock = asked.project.root, None, asked.source.snapshot
    if isinstance(asked.choice, OwnEnvironment):
        for note in asked.choice.notes:
            say(f"warning: {note}")
    else:
        made = make_environment(machine, asked.choice, asked.environment, say)
        environment, lock = made.environment, made.lock
        if script := asked.environment.script:
            again = _format_rerun(request)
            check_start(machine, environment, asked.choice, root=root, script=script, again=again, say=say)
    python = environment.python if environment else choose_python(request.python, machine.environ)
    outcome = _take(machine, python, path=lock, say=say) if request.snapshot else None
    if outcome:
        python, prefix = outcome.taken.python, outcome.taken.prefix
    else:
        report = probe(python, runner=machine.runner, environ=machine.environ, scope="interpreter")
        python, prefix = report.executable, report.prefix
    is_own_unasked = environment is None and asked.environment.manager not in (None, EnvManager.LOCAL)
    if is_own_unasked and (script := asked.environment.script):
        check_own_start(machine, python, prefix, root=root, script=script)
    if environment is None and lock.exists():
        here = outcome.taken.snapshot if outcome else None
        satisfied = Request(lock=lock, python=python)
        restore_or_warn(machine, satisfied, restore=False, here=here, command=_format_rerun(request))
    return _Prepared(python=python, prefix=prefix, environment=environment, outcome=outcome, lock=lock)


def _keep_snapshot(prepared: _Prepared, source: Source, store: Store, run_id: str) -> str | None:
    """Keep the snapshot with the run; what the caller's own environment holds with their own project too without one.

    Return its digest. Where none was taken, the lock that was restored is kept.
    """
    if prepared.outcome is None:
        if prepared.environment:
            store.write_artifact(run_id, FILE_NAME, prepared.lock.read_bytes())
        return None
    snapshot = prepared.outcome.taken.snapshot
    write_text(store, run_id, FILE_NAME, format_snapshot(snapshot))
    lock = source.snapshot
    is_wanted = source.is_own and prepared.environment is None
    if is_wanted and not lock.exists() and os.access(source.root, os.W_OK):
        write_lock(snapshot, lock)
    return snapshot.compute_digest()


def _make_tags(asked: _Asked, given: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is known of a run when it begins."""
    project, choice = asked.project, asked.choice
    manager = asked.environment.manager or EnvManager.LOCAL
    tags = {
        "mlflow.source.type": "PROJECT",
        "mlflow.project.entryPoint": asked.entry.name,
        "mlflow.project.backend": "local",
        "mlflow.project.env": "local" if isinstance(choice, OwnEnvironment) else "repro",
        PROCESS_TAG: mark_process(),
        "repro.env.manager": manager.value,
        "repro.restored": "false",
    }
    if isinstance(choice, LooseEnvironment):
        tags["repro.env.source"] = os.path.relpath(choice.file, project.root)
        tags |= {"repro.env.as_of": asked.environment.as_of} if asked.environment.as_of else {}
    if parent := settings.find_parent_run(environ):
        tags["mlflow.parentRunId"] = parent
    return {**tags, **format_given(given), **asked.source.tags}


def _make_environment_tags(prepared: _Prepared) -> dict[str, str]:
    """Return what is known once the environment is made."""
    tags = make_snapshot_tags(prepared.outcome.taken.snapshot) if prepared.outcome else {}
    if prepared.environment:
        tags |= {"repro.restored": "true", "repro.env.key": prepared.environment.key}
    return tags


def _make_environment(
    asked: _Asked, prepared: _Prepared, info: RunInfo, tracking: Tracking, *, observe_dir: str | None
) -> dict[str, str]:
    """Return the child's environment: its calls land in the run, and it can import repro."""
    environ = dict(tracking.environ)
    if asked.environment.manager:
        environ = settings.name_env_manager(environ, asked.environment.manager.value, as_of=asked.environment.as_of)
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
    settings.lend_r(environ, R_PROFILE)
    return environ


@contextmanager
def _make_download_dir(storage_dir: str | None, say: Callable[[str], None]) -> Iterator[Path]:
    """Have a directory for what `path` parameters bring from elsewhere: one that is named is kept, where it is used."""
    try:
        if storage_dir:
            make_directory(os.path.expanduser(storage_dir))
        directory = tempfile.mkdtemp(prefix="repro-run-", dir=os.path.expanduser(storage_dir) if storage_dir else None)
    except OSError as error:
        raise UsageError(f"nothing can be kept in `{storage_dir}` ({error.strerror})", hint="name another") from error
    say(f"=== Created directory {directory} for remote files of parameters of type 'path' ===")
    try:
        yield Path(directory).absolute()
    finally:
        if not storage_dir or not os.listdir(directory):
            remove_tree(directory)


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


def _begin(machine: Machine, request: RunRequest, asked: _Asked, store: Store) -> RunInfo:
    """Make the run, with its parameters as they were given."""
    new = NewRun(
        experiment_id=find_experiment_id(Client(store=store), machine.environ),
        user_id=settings.get_user(machine.environ),
        start_time_ms=now_ms(),
        tags=_make_tags(asked, tuple(parse_assignments(request.parameters)), machine.environ),
    )
    info = store.create_run(new).info
    store.log_batch(info.run_id, Batch(params=asked.values.given))
    return info


def _prepare_in_run(
    machine: Machine, request: RunRequest, asked: _Asked, store: Store, run_id: str, say: Callable[[str], None]
) -> _Prepared:
    """Make the environment; why it cannot be made stands with the run."""
    try:
        prepared = _prepare(machine, request, asked, say)
    except ReproError as error:
        store.set_tag(run_id, "repro.error", error.message)
        raise
    store.log_batch(run_id, Batch(tags=_make_environment_tags(prepared)))
    return prepared


def _adapt(request: RunRequest, source: Source, say: Callable[[str], None]) -> RunRequest:
    """Return a request with what a run that is run again says; what the caller says wins."""
    if source.rerun_of is None:
        return request
    named = parse_assignments(request.parameters)
    kept = tuple(f"{name}={value}" for name, value in source.parameters.items() if name not in named)
    is_open = request.restore is None and request.env_manager is None
    if source.lock is None and is_open:
        say(f"warning: run {source.rerun_of} has no snapshot: it is run again in your environment")
    return replace(
        request,
        entry_point=request.entry_point or source.entry_point,
        parameters=kept + request.parameters,
        restore=(source.lock is not None or None) if is_open else request.restore,
    )


def run_project(machine: Machine, request: RunRequest, *, say: Callable[[str], None]) -> RunResult:
    """Run an entry point to its end; `say` gets each message for the user.

    What is asked for is checked, and what parameters name is fetched, before the run exists; it begins before its
    environment is made: that takes time, may fail through no fault of the request, and then leaves a FAILED run that
    says why. Raises ReproError up to there; afterwards the child's exit code tells.
    """
    with open_source(machine, request.uri, version=request.version, offline=request.offline, say=say) as source:
        return _run(machine, _adapt(request, source, say), source, say=say)


def _run(machine: Machine, request: RunRequest, source: Source, *, say: Callable[[str], None]) -> RunResult:
    asked = _read_request(machine, request, source)
    for note in asked.project.mlproject.notes if asked.project.mlproject else ():
        say(f"warning: {note}")
    store = open_store(settings.find_tracking_uri(machine.environ), cwd=Path.cwd())
    storage_dir = request.storage_dir or settings.find_storage_dir(machine.environ)
    observe = request.observe and settings.wants_observation(machine.environ)
    with ExitStack() as stack:
        download_dir = stack.enter_context(_make_download_dir(storage_dir, say))
        asked = replace(asked, values=fetch_remote(asked.values, download_dir, environ=machine.environ))
        info = _begin(machine, request, asked, store)
        stack.enter_context(_finishing(store, info.run_id, say))
        prepared = _prepare_in_run(machine, request, asked, store, info.run_id, say)
        command = format_run_command(asked.entry, asked.values.passed, request.words)
        command = _LEADING_PYTHON.sub(lambda _: shlex.quote(prepared.python), command)
        observe_dir = stack.enter_context(make_observe_dir(wanted=observe))
        tracking = stack.enter_context(serving(store, info.run_id, machine.environ))
        digest = _keep_snapshot(prepared, source, store, info.run_id)
        if "mlflow.source.git.commit" in source.tags:
            keep_code_diff(store, info.run_id, source.root)
        environ = _make_environment(asked, prepared, info, tracking, observe_dir=observe_dir)
        environ = settings.name_run_options(
            environ, storage_dir=request.storage_dir, lenient_types=request.lenient_types
        )
        taken = prepared.outcome.taken if prepared.outcome else None
        recorder = Recorder(
            runner=machine.runner,
            taken=taken,
            store=store,
            run_id=info.run_id,
            observe_dir=observe_dir,
            say=say,
            project_dir=asked.project.root,
        )
        say(f"=== Running command '{command}' in run with ID '{info.run_id}' ===")
        with recorder.recording(environ), keeping_output(store, info.run_id) as output:
            ended = machine.runner.supervise(
                ["bash", "-c", command],
                env=environ,
                cwd=str(asked.project.root),
                stdout_to_stderr=request.stdout_to_stderr,
                copy=output,
                timeout_s=request.timeout_s,
                meanwhile=recorder.prepare,
            )
            failure = find_failure(output.name) if ended.exit_code and not ended.timed_out else None
    if ended.timed_out:
        say(f"the run was ended after {request.timeout_s:g} s")
    exit_code = TIMED_OUT if ended.timed_out else ended.exit_code
    store.set_tag(info.run_id, "repro.exit_code", str(exit_code))
    status = _finish(store, info.run_id, RunStatus.KILLED if ended.timed_out else _status_of(exit_code))
    say(f"=== Run (ID '{info.run_id}') {'succeeded' if status is RunStatus.FINISHED else status.name.lower()} ===")
    if failure and status is RunStatus.FAILED:
        tell_failure(failure, store, info.run_id, say)
    return RunResult(
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        status=status,
        exit_code=exit_code,
        artifacts=_locate_artifacts(store, info),
        digest=digest,
        environment=prepared.environment,
        used=recorder.used,
        failure=failure.fault if failure else None,
    )
