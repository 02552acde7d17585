"""Count what a sweep has done and has still to do, for those who watch it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from repro.formats.run_meta import RunStatus
from repro.projects.sweep_request import Goal, PointResult, choose_best
from repro.values import field, frozen, mutable


@frozen
class Begun:
    """The sweep has its run."""

    run_id: str


@frozen
class Started:
    """A point is begun."""

    number: int
    parameters: Mapping[str, str]


Event = Begun | Started | PointResult


@mutable
class Progress:
    """Where a sweep stands; `started` are the points that run, with the time of `clock` when they began."""

    total: int
    jobs: int
    metric: str | None = None
    goal: Goal | None = None
    run_id: str = ""
    results: dict[int, PointResult] = field(default_factory=dict)
    started: dict[int, tuple[Started, float]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def note(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case Begun(run_id=run_id):
                self.run_id = run_id
            case Started(number=number):
                self.started[number] = (event, self.clock())
            case PointResult(number=number):
                self.started.pop(number, None)
                self.results[number] = event

    def count(self, status: RunStatus) -> int:
        """Return how many points have ended so."""
        return sum(each.status is status for each in self.results.values())

    @property
    def best(self) -> PointResult | None:
        """The best point so far."""
        return choose_best([self.results[number] for number in sorted(self.results)], self.goal)

    @property
    def left_s(self) -> float | None:
        """How long it may still take: what points took on average now, and what the running ones have had already."""
        took = [each.seconds for each in self.results.values() if not each.was_done and each.seconds is not None]
        if not took:
            return None
        mean_s = sum(took) / len(took)
        now = self.clock()
        running_s = sum(max(0.0, mean_s - (now - begun)) for _, begun in self.started.values())
        waiting = self.total - len(self.results) - len(self.started)
        return (waiting * mean_s + running_s) / max(1, min(self.jobs, waiting + len(self.started)))


def format_point(parameters: Mapping[str, str]) -> str:
    """Return the parameters of a point in one line."""
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def _format_metric(result: PointResult, metric: str | None) -> str:
    if metric is None:
        return ""
    return f", {metric} {result.metric:.6g}" if result.metric is not None else f", no {metric}"


def format_line(event: Event, progress: Progress) -> str | None:
    """Return what is said of an event where there is no terminal; nothing of one that is only begun."""
    match event:
        case Begun(run_id=run_id):
            return f"=== Sweep of {progress.total} points in run with ID '{run_id}' ==="
        case Started():
            return None
        case PointResult():
            took = f" in {event.seconds:.3g} s" if event.seconds is not None else ""
            code = f" (exit code {event.exit_code})" if event.exit_code else f" ({event.error})" if event.error else ""
            what = f"{event.status.name}{took}{code}{_format_metric(event, progress.metric)}"
            run = f", run {event.run_id}" if event.run_id else ""
            return f"point {event.number}/{progress.total} ({format_point(event.parameters)}): {what}{run}"
