"""What is known of a run that its server has not got yet, read from what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from repro.formats.run_meta import MetricPoint, RunInfo, RunStatus
from repro.tracking import wire
from repro.tracking.entities import RUN_NAME, Artifact, NewRun, Run, RunData
from repro.tracking.rest.entries import parse_entry, parse_point
from repro.tracking.rest.outbox import RunBox


def make_info(run_id: str, new: NewRun) -> RunInfo:
    """Return the info of a run that is to be made."""
    return RunInfo(
        run_id=run_id,
        experiment_id=new.experiment_id,
        run_name=new.run_name or new.tags.get(RUN_NAME) or f"run-{run_id[:8]}",
        user_id=new.user_id,
        status=RunStatus.RUNNING,
        start_time_ms=new.start_time_ms,
        end_time_ms=None,
        artifact_uri="",
    )


def _read_lines(box: RunBox) -> Iterator[bytes]:
    for path in box.list_journals():
        content = path.read_bytes()
        yield from content[: content.rfind(b"\n") + 1].splitlines()


def _change(info: RunInfo, fields: wire.Fields) -> RunInfo:
    from repro.values import replace

    status = wire.find_text(fields, "status")
    now = wire.parse_status(status) if status else info.status
    end_time_ms = wire.find_whole(fields, "end_time") if now.is_final else None
    return replace(
        info,
        status=now,
        end_time_ms=end_time_ms or (info.end_time_ms if now.is_final else None),
        run_name=wire.find_text(fields, "run_name") or info.run_name,
    )


def find_local_run(box: RunBox) -> Run | None:
    """Return a run that is to be made, with what was logged to it; None where its server has it.

    Raises TrackingError.
    """
    new = box.read_new()
    if new is None:
        return None
    info, tags = make_info(box.run_id, new), dict(new.tags)
    params: dict[str, str] = {}
    points: dict[str, MetricPoint] = {}
    for line in _read_lines(box):
        kind = line[:1]
        if kind == b"m":
            metric = parse_point(line)
            points[metric.key] = max(points.get(metric.key, metric.point), metric.point, key=lambda point: point.order)
        elif kind in (b"p", b"t"):
            (params if kind == b"p" else tags).update(wire.parse_pairs([parse_entry(line)]))
        elif kind == b"d":
            tags.pop(wire.get_text(parse_entry(line), "key"), None)
        elif kind == b"u":
            info = _change(info, parse_entry(line))
    return Run(info=info, data=RunData(points=points, params=params, tags={RUN_NAME: info.run_name, **tags}))


def read_local_history(box: RunBox, key: str) -> list[MetricPoint]:
    """Return the points of a metric that are kept. Raises TrackingError."""
    found = (parse_point(line) for line in _read_lines(box) if line[:1] == b"m")
    return [metric.point for metric in found if metric.key == key]


def list_local_files(box: RunBox) -> dict[str, Path]:
    """Return the artifacts that are kept: path -> file. Raises TrackingError."""
    entries = (parse_entry(line) for line in _read_lines(box) if line[:1] == b"a")
    return {wire.get_text(each, "path"): box.get_file(wire.get_text(each, "file")) for each in entries}


def list_local_directory(box: RunBox, path: str) -> list[Artifact]:
    """Return what lies directly in a directory of the artifacts that are kept. Raises TrackingError."""
    prefix = f"{path}/" if path else ""
    found: dict[str, Artifact] = {}
    for each, file in sorted(list_local_files(box).items()):
        if each.startswith(prefix):
            name, slash, _ = each[len(prefix) :].partition("/")
            size = None if slash else file.stat().st_size
            found[prefix + name] = Artifact(path=prefix + name, is_dir=bool(slash), size_bytes=size)
    return list(found.values())
