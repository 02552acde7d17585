"""Say what a caller asks of a sweep, and how its points and the whole have ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum

from repro.errors import ExitCode
from repro.formats.axis import Axis
from repro.formats.run_meta import RunStatus
from repro.projects.request import RunRequest
from repro.values import field, frozen


class Goal(str, Enum):
    """Which value of a metric is the best."""

    MIN = "min"
    MAX = "max"


@frozen
class SweepRequest:
    """What a caller asks for; `run` says how each point runs, its parameters are in `axes`.

    `jobs` points run at a time. With `sample` so many are drawn, with `seed` or one that is made up. `resume` is the id
    of a sweep's run, or its beginning; the same request again continues the newest that is the same, unless `new`.
    """

    run: RunRequest
    axes: Mapping[str, Axis] = field(default_factory=dict)
    jobs: int = 1
    sample: int | None = None
    seed: int | None = None
    metric: str | None = None
    goal: Goal | None = None
    fail_fast: bool = False
    resume: str | None = None
    new: bool = False


@frozen
class PointResult:
    """How a point ended, in `seconds`; one that could not be run has no `run_id` or no `exit_code`.

    `was_done` tells that it was, before this call.
    """

    number: int
    parameters: Mapping[str, str]
    status: RunStatus
    run_id: str | None = None
    exit_code: int | None = None
    metric: float | None = None
    seconds: float | None = None
    error: str | None = None
    was_done: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return it for `--json`; a metric that is no finite number is a text, as JSON has none."""
        metric = self.metric
        return {
            "number": self.number,
            "parameters": dict(self.parameters),
            "status": self.status.name,
            "run_id": self.run_id,
            "exit_code": self.exit_code,
            "metric": metric if metric is None or math.isfinite(metric) else str(metric),
            "seconds": self.seconds,
            "error": self.error,
            "was_done": self.was_done,
        }


def choose_best(results: Sequence[PointResult], goal: Goal | None) -> PointResult | None:
    """Return the FINISHED point with the best metric, the first of equal ones; NaN is none."""
    measured = [
        (each.metric, each)
        for each in results
        if each.metric is not None and each.status is RunStatus.FINISHED and not math.isnan(each.metric)
    ]
    if goal is None or not measured:
        return None
    sign = 1 if goal is Goal.MIN else -1
    return min(measured, key=lambda pair: sign * pair[0])[1]


@frozen
class SweepResult:
    """How a sweep ended: its own run, and each point that was done or tried, by number. `total` counts all points."""

    run_id: str
    experiment_id: str
    status: RunStatus
    total: int
    points: tuple[PointResult, ...]
    metric: str | None = None
    goal: Goal | None = None

    @property
    def best(self) -> PointResult | None:
        """The point with the best metric, where one was asked for."""
        return choose_best(self.points, self.goal)

    def count(self, status: RunStatus) -> int:
        """Return how many points stand so."""
        return sum(each.status is status for each in self.points)

    @property
    def exit_code(self) -> int:
        """0 where every point is FINISHED, else 1."""
        return ExitCode.DONE if self.status is RunStatus.FINISHED else ExitCode.NO

    def to_dict(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "run_id": self.run_id,
            "experiment_id": self.experiment_id,
            "status": self.status.name,
            "exit_code": self.exit_code,
            "total": self.total,
            "finished": self.count(RunStatus.FINISHED),
            "failed": self.count(RunStatus.FAILED),
            "killed": self.count(RunStatus.KILLED),
            "metric": self.metric,
            "goal": self.goal.value if self.goal else None,
            "best": self.best.to_dict() if self.best else None,
            "points": [each.to_dict() for each in self.points],
        }
