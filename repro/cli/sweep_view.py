"""Show a sweep while it runs: a table that lives on a terminal, a line for each point that ends elsewhere."""

from __future__ import annotations

from repro.cli import console
from repro.cli.run_table import format_duration, format_number
from repro.formats.run_meta import RunStatus
from repro.projects.sweep_progress import Event, Progress, Started, format_line, format_point
from repro.projects.sweep_request import PointResult, SweepResult

_SHOWN = 8
_COLUMNS = ("point", "status", "took", "metric", "run", "parameters")


def _format_seconds(seconds: float) -> str:
    return format_duration(round(seconds * 1000))


def format_best(best: PointResult, metric: str) -> str:
    """Return the sentence on the best point."""
    value = format_number(best.metric or 0.0)
    return f"best: {metric} {value} at {format_point(best.parameters)} (run {best.run_id})"


def format_state(progress: Progress) -> str:
    """Return where a sweep stands: how many points are done, failed and running, and the time left."""
    finished, failed = progress.count(RunStatus.FINISHED), progress.count(RunStatus.FAILED)
    killed, running = progress.count(RunStatus.KILLED), len(progress.started)
    words = [f"{finished} of {progress.total} done", f"{failed} failed", f"{running} running"]
    words += [f"{killed} killed"] if killed else []
    left_s = progress.left_s
    if left_s is not None and (running or len(progress.results) < progress.total):
        words.append(f"{_format_seconds(round(left_s))} left")
    return ", ".join(words)


def format_end(result: SweepResult) -> list[str]:
    """Return the lines at a sweep's end."""
    count = f"{result.count(RunStatus.FINISHED)} of {result.total} points are FINISHED"
    lines = [format_best(result.best, result.metric)] if result.best and result.metric else []
    lines.append(f"=== Sweep (ID '{result.run_id}') {result.status.name.lower()}: {count} ===")
    if result.status is not RunStatus.FINISHED:
        lines.append(f"hint: `repro sweep --resume {result.run_id}` runs the others")
    return lines


def _make_row(result: PointResult) -> tuple[str, ...]:
    return (
        str(result.number),
        result.status.name,
        _format_seconds(result.seconds) if result.seconds is not None else "",
        format_number(result.metric) if result.metric is not None else "",
        (result.run_id or "")[:8],
        format_point(result.parameters),
    )


def make_rows(progress: Progress) -> list[tuple[str, ...]]:
    """Return the rows of the live table: the points that run, above them those that ended last."""
    ended = [_make_row(each) for each in progress.results.values() if not each.was_done][-_SHOWN:]
    now = progress.clock()
    running = [
        (str(number), "RUNNING", _format_seconds(round(now - begun)), "", "", format_point(started.parameters))
        for number, (started, begun) in sorted(progress.started.items())
    ]
    return ended + running[:_SHOWN]


class SweepView:
    """What a person sees of a sweep, on stderr."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._live = console.LiveTable(self._draw)

    def __enter__(self) -> SweepView:
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def _draw(self) -> tuple[list[str], tuple[str, ...], list[tuple[str, ...]]]:
        progress = self._progress
        if progress is None:
            return [], _COLUMNS, []
        best = progress.best
        lines = [format_state(progress)]
        lines += [format_best(best, progress.metric)] if best and progress.metric else []
        return lines, _COLUMNS, make_rows(progress)

    def watch(self, event: Event, progress: Progress) -> None:
        """Show an event."""
        self._progress = progress
        line = format_line(event, progress)
        if not self._live.is_possible:
            if line:
                console.note(console.escape(line))
        elif isinstance(event, Started):
            self._live.start()  # not before: a restore shows its own stages
        elif line and not (isinstance(event, PointResult) and event.status is RunStatus.FINISHED):
            console.note(console.escape(line))
