"""The active run of a script: `repro.log_metric(...)` and the like, light enough for any training script.

A script that `repro run` has started resumes the run it was started in, whose status is the runner's to set.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from repro import settings
from repro.errors import Terminated, TrackingError
from repro.formats.run_meta import MetricPoint, RunInfo, RunStatus
from repro.tracking.entities import PARENT_RUN_ID, Batch, NewRun
from repro.tracking.store import DEFAULT_EXPERIMENT, Store, open_store, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.tracking.own_record import OwnRecord


class ActiveRun:
    """A run that is being logged to; as a context manager it ends with its block, truthfully."""

    def __init__(
        self, info: RunInfo, store: Store, *, started_by_runner: bool, record: OwnRecord | None = None
    ) -> None:
        self.info = info
        self.store = store
        self._started_by_runner = started_by_runner
        self._owner = os.getpid()
        self.record = record

    @property
    def run_id(self) -> str:
        """The run's id, 32 hexadecimal digits."""
        return self.info.run_id

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            status = RunStatus.FINISHED
        elif issubclass(kind, KeyboardInterrupt | Terminated):
            status = RunStatus.KILLED
        else:
            status = RunStatus.FAILED
        _end(self, status)

    def set_ended(self, status: RunStatus) -> None:
        """Write how the run ended, unless this is a forked child: the run is its parent's.

        A runner knows better than its script whether it finished well.
        """
        if os.getpid() != self._owner:
            return
        if self.record:
            self.record.finish()
        if self._started_by_runner and status is RunStatus.FINISHED:
            return
        self.store.update_run(self.run_id, status=status, end_time_ms=time.time_ns() // 1_000_000)


_stack: list[ActiveRun] = []
_failed = False


def _end(run: ActiveRun, status: RunStatus) -> None:
    """End a run and those nested in it; one that has ended already keeps its status."""
    while run in _stack:
        _stack.pop().set_ended(status)


def _end_all(owner: int) -> None:
    """End every run at exit; those that a forked child inherits are its parent's."""
    while _stack and os.getpid() == owner:
        _end(_stack[-1], RunStatus.FAILED if _failed else RunStatus.FINISHED)


def _watch_exit() -> None:
    """End runs when the interpreter does, and note whether an exception ended it."""
    before = sys.excepthook

    def note_failure(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        global _failed  # noqa: PLW0603
        _failed = True
        before(kind, error, traceback)

    sys.excepthook = note_failure
    atexit.register(_end_all, os.getpid())


def active_run() -> ActiveRun | None:
    """Return the run that is logged to now."""
    return _stack[-1] if _stack else None


def _make_tags(tags: Mapping[str, str] | None, parent: ActiveRun | None) -> dict[str, str]:
    from repro.tracking.git_source import find_git_source, format_git_tags

    script = Path(sys.argv[0] or "<console>")
    made = {"mlflow.source.name": str(script), "mlflow.source.type": "LOCAL"}
    if parent:
        made[PARENT_RUN_ID] = parent.run_id
    source = find_git_source(script.parent if script.exists() else Path.cwd())
    return made | (format_git_tags(source) if source else {}) | dict(tags or {})


def _start_record(
    store: Store, run_id: str, *, environ: Mapping[str, str], parent: ActiveRun | None
) -> OwnRecord | None:
    """Begin to keep what a run ran in, unless its runner does; whatever goes wrong, the script goes on."""
    if not settings.wants_snapshot(environ):
        return None
    try:
        from repro.tracking.own_record import start_own_record

        return start_own_record(store, run_id, environ=environ, outer=parent.record if parent else None)
    except Exception:
        return None


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    *,
    nested: bool = False,
    tags: Mapping[str, str] | None = None,
) -> ActiveRun:
    """Start a run, or resume the one of `run_id`, else the one that `repro run` has started for this script.

    One that has no snapshot yet keeps that of the running environment, and at its end what was used of it.
    Raises TrackingError where a run is active and this is not `nested`.
    """
    parent = active_run()
    if parent and not nested:
        raise TrackingError(
            f"the run `{parent.run_id}` is active", hint="end it with `repro.end_run()`, or start with `nested=True`"
        )
    if not _stack and sys.excepthook.__module__ != __name__:
        _watch_exit()
    environ = settings.own_environment()
    store = open_store(settings.find_tracking_uri(environ), cwd=Path.cwd())
    given = None if run_id else settings.take_run_id()
    if run_id or given:
        info = store.get_run(run_id or given or "").info
        if not given:
            info = store.update_run(info.run_id, status=RunStatus.RUNNING)
        for key, value in (tags or {}).items():
            store.set_tag(info.run_id, key, str(value))
    else:
        new = NewRun(
            experiment_id=experiment_id or settings.find_experiment_id(environ) or DEFAULT_EXPERIMENT,
            run_name=run_name,
            user_id=settings.get_user(environ),
            start_time_ms=time.time_ns() // 1_000_000,
            tags=_make_tags(tags, parent),
        )
        info = store.create_run(new).info
    record = _start_record(store, info.run_id, environ=environ, parent=parent)
    run = ActiveRun(info, store, started_by_runner=bool(given), record=record)
    _stack.append(run)
    return run


def _require_run() -> ActiveRun:
    return active_run() or start_run()


def end_run(status: str = "FINISHED") -> None:
    """End the active run with `FINISHED`, `FAILED` or `KILLED`; without one do nothing. Raises TrackingError."""
    if status not in ("FINISHED", "FAILED", "KILLED"):
        raise TrackingError(f"a run cannot end as `{status}`", hint="FINISHED, FAILED or KILLED")
    if run := active_run():
        _end(run, RunStatus[status])


def log_param(key: str, value: object) -> object:
    """Log a parameter as text and return its value."""
    run = _require_run()
    run.store.log_batch(run.run_id, Batch(params={key: str(value)}))
    return value


def log_params(params: Mapping[str, object]) -> None:
    """Log parameters."""
    for key, value in params.items():
        log_param(key, value)


def log_metric(key: str, value: float, step: float = 0, timestamp: float | None = None) -> float:
    """Log a value of a metric and return it; `timestamp` is milliseconds since the epoch, else now.

    It and `step` are rounded to whole numbers.
    """
    run = _require_run()
    timestamp_ms = time.time_ns() // 1_000_000 if timestamp is None else round(timestamp)
    run.store.log_metric(run.run_id, key, MetricPoint(value=float(value), timestamp_ms=timestamp_ms, step=round(step)))
    return value


def log_metrics(metrics: Mapping[str, float], step: int = 0) -> None:
    """Log metrics of one step."""
    for key, value in metrics.items():
        log_metric(key, value, step=step)


def log_artifact(local_path: str | os.PathLike[str], artifact_path: str | None = None) -> None:
    """Keep a file or a directory with the run."""
    run = _require_run()
    run.store.log_artifact(run.run_id, Path(local_path), artifact_path or "")


def log_text(text: str, artifact_file: str) -> None:
    """Keep a text with the run as the file `artifact_file`."""
    run = _require_run()
    write_text(run.store, run.run_id, artifact_file, text)


def set_tag(key: str, value: object) -> None:
    """Set a tag of the run."""
    run = _require_run()
    run.store.set_tag(run.run_id, key, str(value))


def set_tags(tags: Mapping[str, object]) -> None:
    """Set tags of the run."""
    for key, value in tags.items():
        set_tag(key, value)
