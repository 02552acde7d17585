"""Run one point of a sweep as a child run, and tell how it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from repro.environments.machine import Machine
from repro.errors import ReproError, Terminated
from repro.formats.run_meta import RunInfo, RunStatus
from repro.process import Leash
from repro.projects.asked import Asked, merge_parameters
from repro.projects.assignments import Values
from repro.projects.backend import Backend
from repro.projects.execution import Execution, execute
from repro.projects.prepared import Prepared
from repro.projects.request import RunRequest
from repro.projects.run_life import begin, finishing
from repro.projects.run_tags import make_environment_tags
from repro.projects.source import Source
from repro.projects.sweep_plan import SweepPlan
from repro.projects.sweep_progress import Event, Started
from repro.projects.sweep_request import PointResult
from repro.projects.sweep_runs import POINT_TAG
from repro.tracking.entities import PARENT_RUN_ID
from repro.tracking.store import Store
from repro.values import frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.hardware import Hardware


@frozen
class Sweep:
    """A sweep that has its run, and all that its points share."""

    machine: Machine
    plan: SweepPlan
    source: Source
    asked: Asked
    values: Mapping[int, Values]
    store: Store
    info: RunInfo
    backend: Backend
    hardware: Hardware
    leash: Leash
    say: Callable[[str], None]

    @property
    def run_id(self) -> str:
        """The id of the sweep's own run."""
        return self.info.run_id


def _ignore(sentence: str) -> None:
    pass


def assign(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return values as `name=value` texts."""
    return tuple(f"{name}={value}" for name, value in values.items())


def make_point_request(sweep_request: RunRequest, point: Mapping[str, str], source: Source) -> RunRequest:
    """Return what runs a point."""
    return replace(sweep_request, parameters=merge_parameters(assign(point), source))


def _read_metric(sweep: Sweep, run_id: str) -> float | None:
    metric = sweep.plan.request.metric
    return sweep.store.get_run(run_id).data.metrics.get(metric) if metric else None


def _run_child(sweep: Sweep, prepared: Prepared, number: int, note_id: Callable[[str], None]) -> PointResult:
    """Run one point as a child run to its end. Raises Terminated where the leash is pulled."""
    point = sweep.plan.get_point(number)
    request = make_point_request(sweep.plan.request.run, point, sweep.source)
    asked = replace(sweep.asked, values=sweep.values[number])
    info = begin(
        sweep.machine,
        request,
        asked,
        sweep.store,
        experiment_id=sweep.info.experiment_id,
        params=asked.values.given,
        tags={**make_environment_tags(prepared), PARENT_RUN_ID: sweep.run_id, POINT_TAG: str(number)},
    )
    note_id(info.run_id)
    with finishing(sweep.store, info.run_id, _ignore):
        execution = Execution(
            machine=sweep.machine,
            request=request,
            asked=asked,
            prepared=prepared,
            store=sweep.store,
            info=info,
            backend=sweep.backend,
            hardware=sweep.hardware,
            say=lambda sentence: sweep.say(f"point {number}: {sentence}"),
            announce=_ignore,
            leash=sweep.leash,
        )
        ended = execute(execution)
    return PointResult(
        number=number,
        parameters=point,
        status=ended.status,
        run_id=ended.run_id,
        exit_code=ended.exit_code,
        metric=_read_metric(sweep, ended.run_id),
    )


def run_point(sweep: Sweep, prepared: Prepared, number: int, tell: Callable[[Event], None]) -> None:
    """Run one point, and tell of its start and its end; what goes wrong with it is its own."""
    point = sweep.plan.get_point(number)
    tell(Started(number=number, parameters=point))
    start = time.monotonic()
    ids: list[str] = []
    try:
        result = _run_child(sweep, prepared, number, ids.append)
    except Terminated:
        result = PointResult(number=number, parameters=point, status=RunStatus.KILLED)
    except (ReproError, OSError) as error:
        said = error.message if isinstance(error, ReproError) else str(error)
        result = PointResult(number=number, parameters=point, status=RunStatus.FAILED, error=said)
    if sweep.plan.request.fail_fast and result.status is not RunStatus.FINISHED:
        sweep.leash.pull()  # here, before this thread could begin another
    run_id = ids[0] if ids else None
    tell(replace(result, run_id=run_id, seconds=round(time.monotonic() - start, 3)))
