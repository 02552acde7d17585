"""Show runs for people: short ids, times as they are said, the metrics and parameters that fit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from repro.formats.run_meta import MetricPoint
from repro.tracking.entities import Run

_TICKS = "▁▂▃▄▅▆▇█"
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))


def format_number(value: float) -> str:
    """Return a number with the digits that people compare."""
    return f"{value:.6g}"


def format_duration(duration_ms: int) -> str:
    """Return a duration in its largest unit, for people."""
    for unit, length_ms in _UNITS:
        if duration_ms >= length_ms:
            return f"{duration_ms / length_ms:.3g} {unit}"
    return f"{duration_ms} ms"


def format_time(time_ms: int) -> str:
    """Return a time of this machine's clock and zone; one that no calendar has as it stands."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def draw_sparkline(points: Sequence[MetricPoint], *, width: int = 24) -> str:
    """Return the course of a metric in one line of text, by step and time; NaN and infinities are gaps."""
    ordered = sorted(points, key=lambda point: (point.step, point.timestamp_ms))
    count = min(width, len(ordered))
    parts = [ordered[len(ordered) * at // count : len(ordered) * (at + 1) // count] for at in range(count)]
    values = [[p.value for p in part if abs(p.value) < float("inf")] for part in parts]
    means = [sum(value / len(part) / 2 for value in part) if part else None for part in values]  # halves: no overflow
    known = [mean for mean in means if mean is not None]
    if not known:
        return " " * count
    low, height = min(known), (max(known) - min(known)) or 1.0
    return "".join(" " if mean is None else _TICKS[round((mean - low) / height * (len(_TICKS) - 1))] for mean in means)


def _choose_keys(runs: Sequence[Run], kind: str, count: int) -> list[str]:
    """Return the keys that most of the runs have; parameters that differ come before those that are equal."""
    found: Counter[str] = Counter()
    values: dict[str, set[str]] = {}
    for run in runs:
        texts = run.data.params if kind == "params" else {key: str(value) for key, value in run.data.metrics.items()}
        found.update(texts.keys())
        for key, value in texts.items():
            values.setdefault(key, set()).add(value)
    chosen = sorted(found, key=lambda key: (len(values[key]) < 2, -found[key], key))[:count]
    return sorted(chosen)


def make_run_table(runs: Sequence[Run], *, width: int) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of runs; as many metrics and parameters as a line of `width` characters may hold."""
    room = max(width - 62, 0) // 13
    metrics = _choose_keys(runs, "metrics", max((room + 1) // 2, 1))
    params = _choose_keys(runs, "params", max(room // 2, 1))
    columns = ["run", "name", "status", "started", "took", *metrics, *params]
    rows = []
    for run in runs:
        info, data = run.info, run.data
        end_ms = info.end_time_ms
        rows.append(
            [
                run.run_id[:8],
                info.run_name,
                str(info.status) + (" (deleted)" if info.lifecycle_stage != "active" else ""),
                format_time(info.start_time_ms),
                format_duration(end_ms - info.start_time_ms) if end_ms is not None else "",
                *(format_number(data.points[key].value) if key in data.points else "" for key in metrics),
                *(data.params.get(key, "") for key in params),
            ]
        )
    return columns, rows


def describe_run(run: Run) -> dict[str, object]:
    """Return a run for `--json`, with MLflow's names."""
    from repro.tracking.wire import format_run

    return dict(format_run(run))
