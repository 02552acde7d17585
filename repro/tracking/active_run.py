"""The active run of a script: started, nested, resumed and ended truthfully.

A script that `repro run` has started resumes the run it was started in, whose status is the runner's to set. Each
thread has its own stack of runs; one that has started none logs to the run that the process is in.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from repro import settings
from repro.errors import ReproError, Terminated, TrackingError
from repro.formats.run_meta import RunInfo, RunStatus
from repro.tracking.active_experiment import find_active_experiment_id, get_active_client
from repro.tracking.client import Client, as_texts
from repro.tracking.clock import now_ms
from repro.tracking.entities import PARENT_RUN_ID, Batch, NewRun, Run, RunData
from repro.tracking.exit_watch import ExitWatch
from repro.tracking.observers import notify
from repro.tracking.process_mark import TAG as PROCESS_TAG
from repro.tracking.process_mark import mark_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.tracking.own_record import OwnRecord
    from repro.tracking.store import Store

_NOTE = "mlflow.note.content"


def _judge(error: BaseException | None) -> RunStatus:
    """Return how a run ends whose block ends with an error, or with none."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return RunStatus.FINISHED
    return RunStatus.KILLED if isinstance(error, KeyboardInterrupt | Terminated) else RunStatus.FAILED


class ActiveRun:
    """A run that is being logged to; as a context manager it ends with its block, truthfully."""

    def __init__(
        self, info: RunInfo, client: Client, *, started_by_runner: bool, record: OwnRecord | None = None
    ) -> None:
        self.info = info
        self.client = client
        self._started_by_runner = started_by_runner
        self._owner = os.getpid()
        self.record = record

    def __repr__(self) -> str:
        return f"<ActiveRun {self.run_id} {self.info.run_name!r}>"

    @property
    def run_id(self) -> str:
        """The run's id, 32 hexadecimal digits."""
        return self.info.run_id

    @property
    def id(self) -> str:
        """The run's id, as MLflow's R package has it (`mlflow_id`)."""
        return self.info.run_id

    @property
    def data(self) -> RunData:
        """What was logged until now, read from the store."""
        return self.client.get_run(self.run_id).data

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self.client.store

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _end(self, _judge(error))

    def set_ended(self, status: RunStatus) -> None:
        """Write how the run ended, unless this is a forked child: the run is its parent's.

        A runner knows better than its script whether it finished well.
        """
        if os.getpid() != self._owner:
            return
        if self.record:
            self.record.finish()
        if self._started_by_runner and status is RunStatus.FINISHED:
            self.store.flush()
            return
        self.client.set_terminated(self.run_id, status)


class _Runs:
    """The runs of this process that are active, by thread, in the order they were started."""

    def __init__(self) -> None:
        self._local = threading.local()
        self.all: list[ActiveRun] = []
        self.last: ActiveRun | None = None
        self.watch: ExitWatch | None = None
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self.starting = threading.RLock()  # a signal's handler may log, and so start a run

    @property
    def own(self) -> list[ActiveRun]:
        """Those that this thread has started, the innermost last, without what another thread has ended."""
        found: list[ActiveRun] = self._local.__dict__.setdefault("runs", [])
        while found and found[-1] not in self.all:
            found.pop()
        return found

    def find(self) -> ActiveRun | None:
        """Return the innermost run of this thread, else the process' first."""
        own = self._local.__dict__.get("runs")
        if own and own[-1] in self.all:  # a training loop's hot path
            return own[-1]  # type: ignore[no-any-return]
        own = self.own or self.all[:1]
        return own[-1] if own else None

    def add(self, run: ActiveRun) -> None:
        """Make a run this thread's innermost."""
        self.own.append(run)
        self.all.append(run)
        self.last = run

    def remove(self, run: ActiveRun) -> list[ActiveRun]:
        """Take a run away with those nested in it, and return them, the innermost first."""
        own = self.own
        gone = own[own.index(run) :] if run in own else [run] if run in self.all else []
        for each in gone:
            self.all.remove(each)
            if each in own:
                own.remove(each)
        return gone[::-1]


_runs = _Runs()


def _end(run: ActiveRun, status: RunStatus) -> None:
    """End a run and those nested in it; one that has ended already keeps its status."""
    for each in _runs.remove(run):
        each.set_ended(status)


def _end_all(status: RunStatus) -> None:
    """End every run, the newest first; one that cannot be ended keeps no other from it, and is the error raised."""
    while _runs.all:
        try:
            _end(_runs.all[-1], status)
        except ReproError:
            _end_all(status)
            raise


def is_active(run_id: str) -> bool:
    """Tell whether a run of this process is logged to, also by another thread or behind a nested one."""
    return any(run.run_id == run_id for run in _runs.all)


def active_run() -> ActiveRun | None:
    """Return the run that is logged to now."""
    return _runs.find()


def last_active_run() -> Run | None:
    """Return the run that is logged to now, else the one that this process has started last."""
    run = active_run() or _runs.last
    return run.client.get_run(run.run_id) if run else None


def _name_script() -> str:
    """Return what runs: a script's path; an interpreter that was given none, or code itself, has no name."""
    name = next(iter(getattr(sys, "argv", ())), "")
    return "<console>" if name in ("", "-c") else name


def _find_code_dir() -> Path:
    """Return the directory of the script; of a console, and of a launcher of the environment, the working directory."""
    script = os.path.abspath(_name_script())
    is_code = os.path.exists(script) and not script.startswith(os.path.join(sys.prefix, ""))
    return Path(script).parent if is_code else Path.cwd()


def _make_tags(tags: Mapping[str, object], parent_id: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    from repro.tracking.git_source import find_git_source, format_git_tags

    made = {"mlflow.source.name": _name_script(), "mlflow.source.type": "LOCAL", PROCESS_TAG: mark_process()}
    if parent_id:
        made[PARENT_RUN_ID] = parent_id
    source = find_git_source(_find_code_dir())
    return {
        **made,
        **(format_git_tags(source) if source else {}),
        **_read_context(environ),
        **as_texts(tags),
    }


def _read_context(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of `MLFLOW_RUN_CONTEXT`, a JSON object. Raises TrackingError."""
    text = settings.find_run_context(environ)
    if not text:
        return {}
    try:
        return as_texts(dict(json.loads(text)))
    except (ValueError, TypeError) as error:
        raise TrackingError(f"MLFLOW_RUN_CONTEXT is no JSON object of tags ({error})") from error


def _start_record(client: Client, run_id: str, *, is_new: bool, environ: Mapping[str, str]) -> OwnRecord | None:
    """Begin to keep what a run ran in, unless its runner does; whatever goes wrong, the script goes on."""
    if not settings.wants_snapshot(environ):
        return None
    outer = next((run.record for run in _runs.all if run.record), None)
    try:
        from repro.tracking.own_record import start_own_record

        return start_own_record(client.store, run_id, is_new=is_new, environ=environ, outer=outer)
    except Exception:
        return None


def _keep_code(client: Client, run_id: str) -> None:
    """Keep what the code differs in from its commit; whatever goes wrong, the script goes on."""
    try:
        from repro.tracking.code_diff import keep_code_diff

        keep_code_diff(client.store, run_id, _find_code_dir())
    except Exception:
        return


def _resume(client: Client, run_id: str, tags: Mapping[str, object], *, name: str | None, by_runner: bool) -> RunInfo:
    info = client.get_run(run_id).info
    if info.lifecycle_stage != "active":
        raise TrackingError(f"the run `{run_id}` is deleted", hint=f"repro runs restore {run_id}")
    if not by_runner:
        info = client.store.update_run(run_id, status=RunStatus.RUNNING, name=name)
        tags = {PROCESS_TAG: mark_process(), **tags}
    elif name:
        info = client.store.update_run(run_id, name=name)
    if tags:
        client.store.log_batch(run_id, Batch(tags=as_texts(tags)))
    return info


def _find_mlflows_run(environ: Mapping[str, str]) -> str | None:
    """Return the runner's run where an MLflow in this process logs to it: that has taken MLFLOW_RUN_ID away."""
    find = getattr(sys.modules.get("mlflow"), "active_run", None)
    try:
        run_id = str(find().info.run_id) if find else ""
    except Exception:  # none is active, or it is another MLflow than we know
        return None
    return run_id if settings.is_runners(environ, run_id) else None


def _watch() -> ExitWatch:
    if _runs.watch is None:
        _runs.watch = ExitWatch(_end_all)
        _runs.watch.start()
    return _runs.watch


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, object] | None = None,
    description: str | None = None,
) -> ActiveRun:
    """Start a run, or resume the one of `run_id`, else the one that `repro run` or MLFLOW_RUN_ID names for this script.

    A run that is resumed takes the name that is given.
    One that has no snapshot yet keeps that of the running environment, and at its end what was used of it.
    Raises TrackingError where a run is active and this is not `nested`.
    """
    own = _runs.own
    if own and not nested:
        raise TrackingError(
            f"the run `{own[-1].run_id}` is active", hint="end it with `repro.end_run()`, or start with `nested=True`"
        )
    _watch().forget()
    environ = settings.own_environment()
    client = get_active_client()
    tags = {**(tags or {}), **({_NOTE: description} if description else {})}
    given = None if run_id or parent_run_id else settings.take_run_id() or _find_mlflows_run(environ)
    by_runner = given is not None and settings.is_runners(environ, given)
    if run_id or given:
        info = _resume(client, run_id or given or "", tags, name=run_name, by_runner=by_runner)
    else:
        parent = active_run() if nested else None
        new = NewRun(
            experiment_id=experiment_id or find_active_experiment_id(),
            run_name=run_name,
            user_id=settings.get_user(environ),
            start_time_ms=now_ms(),
            tags=_make_tags(tags, parent_run_id or (parent.run_id if parent else None), environ),
        )
        info = client.store.create_run(new).info
        notify("create_run", run_id=info.run_id, experiment_id=info.experiment_id)
    run = ActiveRun(info, client, started_by_runner=by_runner)
    _runs.add(run)  # before the record, which takes its time: what ends the script meanwhile ends the run
    try:
        run.record = _start_record(client, info.run_id, is_new=not (run_id or given), environ=environ)
        if not by_runner:
            _keep_code(client, info.run_id)
    except BaseException as error:
        _end(run, _judge(error))
        raise
    notify("active_run_id", run_id=info.run_id)
    return run


def require_run() -> ActiveRun:
    """Return the active run; where there is none, one is started, and of threads that ask at once by one of them."""
    if run := active_run():
        return run
    with _runs.starting:
        return active_run() or start_run()


def end_run(status: RunStatus | str = "FINISHED") -> None:
    """End the active run with `FINISHED`, `FAILED` or `KILLED`; without one do nothing. Raises TrackingError."""
    if status not in ("FINISHED", "FAILED", "KILLED"):
        raise TrackingError(f"a run cannot end as `{status}`", hint="FINISHED, FAILED or KILLED")
    if run := active_run():
        _end(run, RunStatus(status))
