"""Run an entry point at many points of its parameters: a child run for each, of one run for the sweep.

The source, the environment, its snapshot and all checks are made once. A sweep is continued by its id, or by the same
request: the points that have a FINISHED run are not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.formats.run_meta import MetricPoint, RunInfo, RunStatus
from repro.formats.sweep_record import FILE_NAME, format_sweep_record
from repro.process import Leash
from repro.projects.asked import Asked, adapt, read_request, read_values
from repro.projects.assignments import Values, fetch_remote
from repro.projects.backend import get_backend
from repro.projects.crew import Crew
from repro.projects.downloads import make_download_dir
from repro.projects.prepared import Prepared, keep_snapshot
from repro.projects.recorder import read_machine
from repro.projects.request import RunRequest
from repro.projects.rerun import SWEEP_TAG
from repro.projects.run_life import begin, find_place, finish, finishing, prepare_in_run
from repro.projects.source import Source, open_source
from repro.projects.sweep_plan import SweepPlan, check_sweep, make_plan
from repro.projects.sweep_point import Sweep, assign, make_point_request, run_point
from repro.projects.sweep_progress import Begun as SweepBegun
from repro.projects.sweep_progress import Event, Progress
from repro.projects.sweep_request import PointResult, SweepRequest, SweepResult
from repro.projects.sweep_runs import Begun
from repro.tracking.clock import now_ms
from repro.tracking.entities import Batch, Metric
from repro.tracking.process_mark import TAG as PROCESS_TAG
from repro.tracking.process_mark import mark_process
from repro.tracking.store import Store, open_store, write_text
from repro.values import replace

BEST_TAG = "repro.sweep.best_run_id"
_COMMIT = "mlflow.source.git.commit"

Watch = Callable[[Event, Progress], None]


class _FailedError(Exception):
    """A point has failed, and no other is wanted."""


def _ignore(sentence: str) -> None:
    pass


def _read_points(machine: Machine, plan: SweepPlan, run: RunRequest, asked: Asked, source: Source) -> dict[int, Values]:
    """Return the values of each point that is to be run. Raises UsageError before anything exists."""
    return {
        number: read_values(
            machine, make_point_request(run, plan.get_point(number), source), asked.project, asked.entry
        )
        for number in plan.open_numbers
    }


def _fetch(values: Mapping[int, Values], directory: Path, environ: Mapping[str, str]) -> dict[int, Values]:
    """Fetch what paths name elsewhere, what several points name once."""
    fetched: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
    result = {}
    for number, each in values.items():
        wanted = tuple((name, each.passed[name]) for name in each.remote)
        if wanted and wanted not in fetched:
            passed = fetch_remote(each, directory / str(len(fetched)), environ=environ).passed
            fetched[wanted] = {name: passed[name] for name in each.remote}
        result[number] = replace(each, passed={**each.passed, **fetched[wanted]}, remote=()) if wanted else each
    return result


def _warn_of_change(begun: Begun, source: Source, say: Callable[[str], None]) -> None:
    """Say where the points that are done have run other code."""
    for tag in (_COMMIT, "repro.source.sha256"):
        before, now = begun.run.data.tags.get(tag), source.tags.get(tag)
        if before and now and before != now:
            say(f"warning: the project is at `{now[:12]}` now, and the points that are done have run `{before[:12]}`")


def _begin(
    machine: Machine, plan: SweepPlan, asked: Asked, source: Source, store: Store, say: Callable[[str], None]
) -> RunInfo:
    """Make the run of a sweep, or go on with it."""
    if plan.begun:
        run_id = plan.begun.run.run_id
        info = store.update_run(run_id, status=RunStatus.RUNNING)
        store.log_batch(run_id, Batch(tags={PROCESS_TAG: mark_process()}))
        return info
    run, record = plan.request.run, plan.record
    axes = record.asked.axes
    tags = {SWEEP_TAG: record.asked.key, "repro.sweep.points": str(len(record.points))}
    if record.asked.sample is not None:
        tags["repro.sweep.seed"] = str(record.seed)
    place = find_place(machine, run, asked, store, say)
    own = replace(run, parameters=assign(axes))
    info = begin(machine, own, asked, store, experiment_id=place, params=axes, tags=tags)
    commit = None if source.is_own or source.rerun_of else source.tags.get(_COMMIT)
    write_text(store, info.run_id, FILE_NAME, format_sweep_record(replace(record, commit=commit)))
    return info


def _prepare(sweep: Sweep, run: RunRequest) -> Prepared:
    """Make the environment once for all points, and keep its snapshot with the sweep's own run."""
    store, run_id, begun = sweep.store, sweep.run_id, sweep.plan.begun
    prepared = prepare_in_run(sweep.machine, run, sweep.asked, store, run_id, sweep.say)
    digest = keep_snapshot(prepared, sweep.source, store, run_id)
    before = begun.run.data.tags.get("repro.snapshot.digest") if begun else None
    if before and digest and before != digest and sweep.plan.done:
        sweep.say("warning: the points that are done have run in another environment: its snapshot has changed since")
    return prepared


def _make_progress(plan: SweepPlan) -> Progress:
    request = plan.request
    return Progress(
        total=plan.total,
        jobs=request.jobs,
        metric=request.metric,
        goal=request.goal,
        results=dict(plan.done),
    )


def _make_result(plan: SweepPlan, info: RunInfo, progress: Progress, status: RunStatus) -> SweepResult:
    return SweepResult(
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        status=status,
        total=progress.total,
        points=tuple(progress.results[number] for number in sorted(progress.results)),
        metric=plan.request.metric,
        goal=plan.request.goal,
    )


def _keep_best(store: Store, run_id: str, metric: str | None, best: PointResult | None) -> None:
    if metric and best and best.run_id and best.metric is not None:
        point = MetricPoint(best.metric, now_ms(), 0)
        store.log_batch(run_id, Batch(metrics=[Metric(key=metric, point=point)], tags={BEST_TAG: best.run_id}))


def _run_all(sweep: Sweep, prepared: Prepared, progress: Progress, watch: Watch) -> None:
    """Run every point that is open; with `fail_fast` none more once one has not finished."""
    is_over = False

    def hear(event: Event) -> None:
        nonlocal is_over
        progress.note(event)
        watch(event, progress)
        has_failed = isinstance(event, PointResult) and event.status is not RunStatus.FINISHED
        if has_failed and sweep.plan.request.fail_fast and not is_over:
            is_over = True
            raise _FailedError

    crew: Crew[int, Event] = Crew(
        sweep.plan.open_numbers,
        lambda number, tell: run_point(sweep, prepared, number, tell),
        size=sweep.plan.request.jobs,
        leash=sweep.leash,
    )
    try:
        crew.run(hear)
    except _FailedError:
        return


def _run(
    machine: Machine, plan: SweepPlan, source: Source, store: Store, say: Callable[[str], None], watch: Watch
) -> SweepResult:
    first = plan.get_point(plan.open_numbers[0])
    run = adapt(replace(plan.request.run, parameters=assign(first)), source, say)
    asked = read_request(machine, run, source)
    for note in asked.project.notes:
        say(f"warning: {note}")
    values = _read_points(machine, plan, run, asked, source)
    plan = replace(plan, request=replace(plan.request, run=run))
    backend = get_backend(run.backend, machine.runner, run.backend_config)
    if plan.begun:
        _warn_of_change(plan.begun, source, say)
    storage_dir = run.storage_dir or settings.find_storage_dir(machine.environ)
    progress = _make_progress(plan)
    with ExitStack() as stack:
        directory = stack.enter_context(make_download_dir(storage_dir, _ignore))
        values = _fetch(values, directory, machine.environ)
        info = _begin(machine, plan, asked, source, store, say)
        stack.enter_context(finishing(store, info.run_id, say))
        progress.note(SweepBegun(run_id=info.run_id))
        watch(SweepBegun(run_id=info.run_id), progress)
        sweep = Sweep(
            machine=machine,
            plan=plan,
            source=source,
            asked=asked,
            values=values,
            store=store,
            info=info,
            backend=backend,
            hardware=read_machine(machine.runner),
            leash=Leash(),
            say=say,
        )
        _run_all(sweep, _prepare(sweep, run), progress, watch)
        return _end(plan, store, info, progress)


def _end(plan: SweepPlan, store: Store, info: RunInfo, progress: Progress) -> SweepResult:
    is_done = progress.count(RunStatus.FINISHED) == progress.total
    _keep_best(store, info.run_id, plan.request.metric, progress.best)
    status = finish(store, info.run_id, RunStatus.FINISHED if is_done else RunStatus.FAILED)
    return _make_result(plan, info, progress, status)


def _end_done(plan: SweepPlan, begun: Begun, store: Store) -> SweepResult:
    """Return how a sweep ended of which no point is left; one that was killed after its last point is made to end."""
    info = begun.run.info
    if info.status is not RunStatus.FINISHED:
        info = store.update_run(info.run_id, status=RunStatus.FINISHED, end_time_ms=now_ms())
    return _make_result(plan, info, _make_progress(plan), RunStatus.FINISHED)


def run_sweep(machine: Machine, request: SweepRequest, *, say: Callable[[str], None], watch: Watch) -> SweepResult:
    """Run a sweep to its end; `say` gets warnings, `watch` each event with what is done.

    Everything that is asked for is checked before its run exists. Interrupted, it ends every point, and all that runs
    says KILLED. Raises ReproError up to there; afterwards the result tells.
    """
    check_sweep(request)
    store = open_store(settings.find_tracking_uri(machine.environ), cwd=Path.cwd())
    plan = make_plan(machine, request, store)
    if plan.begun:
        what = f"sweep {plan.begun.run.run_id}: {len(plan.done)} of {plan.total} points are done"
        say(what if plan.open_numbers else f"{what}; `--new` begins another")
        if not plan.open_numbers:
            return _end_done(plan, plan.begun, store)
    run = plan.request.run
    with open_source(machine, run.uri, version=run.version, offline=run.offline, say=say) as source:
        return _run(machine, plan, source, store, say, watch)
