"""Find in the store what of a sweep is there: its own run, its record, and the points that are done."""

from __future__ import annotations

from collections.abc import Mapping

from repro.errors import TrackingError, UsageError
from repro.formats.run_meta import RunStatus
from repro.formats.sweep_record import FILE_NAME, SweepRecord, parse_sweep_record
from repro.projects.rerun import SWEEP_TAG
from repro.projects.sweep_request import PointResult
from repro.tracking.clock import now_ms
from repro.tracking.entities import PARENT_RUN_ID, ExperimentQuery, Run, RunQuery
from repro.tracking.paging import find_experiments, find_runs
from repro.tracking.process_mark import TAG as PROCESS_TAG
from repro.tracking.process_mark import Life, find_life, parse_mark
from repro.tracking.reap import reap_run
from repro.tracking.store import Store, find_text
from repro.values import frozen

POINT_TAG = "repro.sweep.point"


@frozen
class Begun:
    """A sweep that is there: its run and its record."""

    run: Run
    record: SweepRecord


def _read_record(store: Store, run: Run) -> SweepRecord:
    text = find_text(store, run.run_id, FILE_NAME)
    if text is None:
        raise TrackingError(f"the run `{run.run_id}` is no sweep: it has no `{FILE_NAME}`")
    try:
        return parse_sweep_record(text)
    except ValueError as error:
        raise TrackingError(f"`{FILE_NAME}` of the run `{run.run_id}` cannot be read: {error}") from error


def _refuse_busy(run: Run) -> None:
    mark = parse_mark(run.data.tags.get(PROCESS_TAG, ""))
    if mark and run.info.status is RunStatus.RUNNING and find_life(mark) is Life.ALIVE:
        raise UsageError(
            f"the sweep `{run.run_id}` is running, in process {mark.pid}",
            hint="wait for it, or begin another with `--new`",
        )


def get_begun(store: Store, run_id: str) -> Begun:
    """Return the sweep of a run. Raises TrackingError for one that is none, UsageError for one that is running."""
    run = store.get_run(run_id)
    if run.info.lifecycle_stage != "active":
        raise TrackingError(f"the run `{run_id}` is deleted", hint=f"repro runs restore {run_id}")
    record = _read_record(store, run)
    _refuse_busy(run)
    return Begun(run=run, record=record)


def find_begun(store: Store, key: str) -> Begun | None:
    """Return the newest sweep that was asked for in the same way. Raises UsageError for one that is running.

    One that has not come to keep its record has chosen no points, and is none.
    """
    ids = tuple(each.experiment_id for each in find_experiments(store, ExperimentQuery()))
    for run in find_runs(store, RunQuery(experiment_ids=ids, filter=f"tags.`{SWEEP_TAG}` = '{key}'")):
        if find_text(store, run.run_id, FILE_NAME) is not None:
            return get_begun(store, run.run_id)
    return None


def _find_number(run: Run, total: int) -> int | None:
    text = run.data.tags.get(POINT_TAG, "")
    return int(text) if text.isdecimal() and len(text) < 10 and 1 <= int(text) <= total else None


def _describe(run: Run, number: int, point: Mapping[str, str], metric: str | None) -> PointResult:
    info = run.info
    return PointResult(
        number=number,
        parameters=point,
        status=info.status,
        run_id=run.run_id,
        exit_code=0,
        metric=run.data.metrics.get(metric) if metric else None,
        seconds=(info.end_time_ms - info.start_time_ms) / 1000 if info.end_time_ms is not None else None,
        was_done=True,
    )


def find_done(store: Store, begun: Begun, metric: str | None) -> dict[int, PointResult]:
    """Return the points that have a FINISHED run, by number; what an earlier call has left RUNNING is reaped."""
    info, points = begun.run.info, begun.record.points
    query = RunQuery(experiment_ids=(info.experiment_id,), filter=f"tags.`{PARENT_RUN_ID}` = '{info.run_id}'")
    runs = find_runs(store, query)
    for run in runs:
        if run.info.status is RunStatus.RUNNING:
            reap_run(store, run, now_ms=now_ms())
    done: dict[int, PointResult] = {}
    for run in runs:
        number = _find_number(run, len(points))
        if number is not None and run.info.status is RunStatus.FINISHED:
            done.setdefault(number, _describe(run, number, points[number - 1], metric))
    return done
