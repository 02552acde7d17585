"""What the index keeps of each kind of file, as text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint, format_metric_line, parse_metric_line, parse_run_meta
from repro.tracking.entities import Dataset
from repro.tracking.index.database import Row
from repro.tracking.index.signs import Folder, sign

METRICS, PARAMS, TAGS, INPUTS = "metrics", "params", "tags", "inputs"


def _parse_columns(lines: list[str]) -> tuple[int, int, float]:
    """Return the latest of many lines of three fields each, fast. Raises ValueError for other lines."""
    if {line.count(" ") for line in lines} != {2}:
        raise ValueError
    fields = "\n".join(lines).split()
    if len(fields) != 3 * len(lines):
        raise ValueError
    values = list(map(float, fields[1::3]))
    if any(value != value for value in values):  # noqa: PLR0124
        raise ValueError
    return max(zip(map(int, fields[2::3]), map(int, fields[0::3]), values, strict=True))


def _parse_slowly(lines: list[str]) -> MetricPoint | None:
    points = []
    for line in lines:
        with suppress(TrackingError):
            points.append(parse_metric_line(line))
    return max(points, key=lambda point: point.order, default=None)


def find_latest_point(content: bytes) -> MetricPoint | None:
    """Return the latest point of a metric's file: that of the highest step, then time, then value.

    A line that is damaged, or has no end yet, is none: one bad line hides no run from a search.
    """
    text = content.decode(errors="replace")
    lines = [line for line in text[: text.rfind("\n") + 1].split("\n") if line.strip()]
    if len(lines) < 2:
        return _parse_slowly(lines)
    try:
        step, timestamp_ms, value = _parse_columns(lines)
    except ValueError:
        return _parse_slowly(lines)
    return MetricPoint(value=value, timestamp_ms=timestamp_ms, step=step)


def describe(part: str, content: bytes) -> str | None:
    """Return what a file says: of a metric its latest point as a line, None where it has none."""
    if part != METRICS:
        return content.decode(errors="replace")
    point = find_latest_point(content)
    return None if point is None else format_metric_line(point)


def read_value(part: str, text: str | None) -> str | float | None:
    """Return what can be compared of what a file says."""
    return float(text.split(" ")[1]) if text is not None and part == METRICS else text


def describe_datasets(paths: Sequence[str], datasets: Sequence[Dataset]) -> str:
    """Return datasets, and the files that say what they are."""
    import json

    from repro.values import asdict

    return json.dumps({"paths": list(paths), "datasets": [asdict(each) for each in datasets]})


def read_described_datasets(text: str) -> tuple[list[str], tuple[Dataset, ...]]:
    """Return the files and the datasets of what `describe_datasets` has returned."""
    import json

    content = json.loads(text)
    return content["paths"], tuple(Dataset(**each) for each in content["datasets"])


def describe_run(folder: Folder, row: Row, found: os.stat_result, content: bytes | None) -> Row:
    """Return a run as its `meta.yaml` says, which stands as `found`; damaged, or in a wrong place, it is none."""
    bare = Row(row.folder, row.run_id, row.number, sign(found))
    try:
        info = parse_run_meta((content or b"").decode(), where="meta.yaml")
    except (TrackingError, UnicodeDecodeError):
        return bare
    if (info.experiment_id, info.run_id) != (folder.experiment_id, row.run_id):
        return bare
    return bare._replace(
        run_name=info.run_name, user_id=info.user_id, status=info.status.value, start_time=info.start_time_ms,
        end_time=info.end_time_ms, artifact_uri=info.artifact_uri, stage=info.lifecycle_stage,
    )  # fmt: skip
