"""Decide what a sweep has to do: check what is asked, choose its points, and see which of them are done."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from repro import settings
from repro.environments.machine import Machine
from repro.errors import UsageError
from repro.formats.axis import format_axis
from repro.formats.sweep_record import SweepAsked, SweepRecord
from repro.projects.backend_config import hash_backend_config
from repro.projects.location import name_location, parse_location
from repro.projects.points import choose_points
from repro.projects.request import RunRequest
from repro.projects.sweep_request import Goal, PointResult, SweepRequest
from repro.projects.sweep_runs import Begun, find_begun, find_done, get_begun
from repro.tracking.run_ids import complete_run_id
from repro.tracking.store import Store
from repro.values import frozen, replace

_MAX_JOBS = 1024


@frozen
class SweepPlan:
    """What is to be done: the request, the record of the points, the sweep it continues, and what is done of it."""

    request: SweepRequest
    record: SweepRecord
    begun: Begun | None
    done: Mapping[int, PointResult]

    @property
    def total(self) -> int:
        """How many points the sweep has."""
        return len(self.record.points)

    @property
    def open_numbers(self) -> tuple[int, ...]:
        """The points that have no FINISHED run, by their numbers from 1 on."""
        return tuple(number for number in range(1, self.total + 1) if number not in self.done)

    def get_point(self, number: int) -> Mapping[str, str]:
        """Return the parameters of a point."""
        return self.record.points[number - 1]


def check_sweep(request: SweepRequest) -> None:
    """Refuse what no sweep can be. Raises UsageError."""
    if not 1 <= request.jobs <= _MAX_JOBS:
        raise UsageError(f"`{request.jobs}` points at a time cannot be run", hint=f"`-j` takes 1 to {_MAX_JOBS}")
    if request.sample is not None and request.sample < 1:
        raise UsageError(f"a sample of `{request.sample}` points is none", hint="`--sample 20`")
    if (request.metric is None) != (request.goal is None):
        raise UsageError(
            "which point is the best takes a metric and a goal",
            hint="`--metric loss --goal min`, or `--metric accuracy --goal max`",
        )
    if request.seed is not None and request.sample is None:
        raise UsageError("`--seed` is for a sample, and a grid has none", hint="`--sample N` draws N points")


def _describe(request: SweepRequest, machine: Machine) -> SweepAsked:
    """Return what is asked, as it is kept and known again."""
    run, environ = request.run, machine.environ
    return SweepAsked(
        uri=name_location(parse_location(run.uri, version=run.version)),
        entry_point=run.entry_point,
        version=run.version,
        axes={name: format_axis(axis) for name, axis in request.axes.items()},
        sample=request.sample,
        seed=request.seed,
        restore=run.restore,
        env_manager=run.env_manager or settings.find_env_manager(environ),
        as_of=run.as_of or settings.find_as_of(environ),
        more=run.more,
        python=run.python,
        lenient_types=run.lenient_types,
        backend=run.backend,
        backend_config=hash_backend_config(run.backend_config),
        experiment=run.experiment or settings.find_experiment_name(environ) or settings.find_experiment_id(environ),
    )


def _check_config(record: SweepRecord, run: RunRequest) -> None:
    """Refuse to go on without a configuration that was given then and is not kept. Raises UsageError."""
    if record.asked.backend_config and not run.backend_config:
        raise UsageError(
            "the sweep was begun with a configuration of its backend, which is not kept: it may hold secrets",
            hint="give it again with `--backend-config`",
        )


def _recall(request: SweepRequest, record: SweepRecord) -> SweepRequest:
    """Return a request that continues a sweep: what it was asked for then, where nothing else is said now."""
    asked, run = record.asked, request.run
    _check_config(record, run)
    recalled = replace(
        run,
        uri=asked.uri,
        entry_point=asked.entry_point,
        version=asked.version,
        restore=asked.restore if run.restore is None and run.env_manager is None else run.restore,
        env_manager=asked.env_manager if run.restore is None and run.env_manager is None else run.env_manager,
        as_of=run.as_of or asked.as_of,
        more=run.more or asked.more,
        python=run.python or asked.python,
        lenient_types=run.lenient_types or asked.lenient_types,
        backend=asked.backend,
        experiment=None,
    )
    return replace(request, run=recalled)


def _continue(request: SweepRequest, store: Store, begun: Begun) -> SweepPlan:
    if request.metric is None and begun.record.metric and begun.record.goal in set(Goal):
        request = replace(request, metric=begun.record.metric, goal=Goal(begun.record.goal))
    done = find_done(store, begun, request.metric)
    if begun.record.commit:
        request = replace(request, run=replace(request.run, version=begun.record.commit))
    return SweepPlan(request=request, record=begun.record, begun=begun, done=done)


def make_plan(machine: Machine, request: SweepRequest, store: Store) -> SweepPlan:
    """Return what is to be done. Raises UsageError, and TrackingError for a run that is no sweep."""
    if request.resume:
        begun = get_begun(store, complete_run_id(store, request.resume))
        return _continue(_recall(request, begun.record), store, begun)
    asked = _describe(request, machine)
    seed = secrets.randbits(32) if request.seed is None else request.seed
    points = choose_points(request.axes, sample=request.sample, seed=seed)
    if not request.new and (found := find_begun(store, asked.key)):
        return _continue(request, store, found)
    goal = request.goal.value if request.goal else None
    record = SweepRecord(asked=asked, seed=seed, points=points, metric=request.metric, goal=goal)
    return SweepPlan(request=request, record=record, begun=None, done={})
