"""The files of a run in MLflow's FileStore layout, as values: `meta.yaml`, metric lines, and the keys allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum

from repro.errors import ProjectError, TrackingError
from repro.formats.flat_yaml import WORDS, format_flat, parse_flat
from repro.kinds import NamedTuple
from repro.patterns import compile_later
from repro.values import field, frozen

_KEY = compile_later(r"[\w\-. :/]{1,250}")
HALF_WRITTEN = compile_later(r"\.[0-9a-f]{8}\.tmp")  # what is not in its place yet: see repro.files.write_atomically


class RunStatus(str, Enum):
    """How a run stands, equal to MLflow's word for it."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    __str__ = str.__str__

    @property
    def number(self) -> int:
        """What `meta.yaml` has in its place."""
        return _STATUSES.index(self) + 1

    @property
    def is_final(self) -> bool:
        """Whether a run that stands so has ended."""
        return self in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)


_STATUSES = tuple(RunStatus)


@frozen
class RunInfo:
    """What `meta.yaml` says of a run; times are milliseconds since the epoch, `end_time_ms` None while it runs."""

    run_id: str
    experiment_id: str
    run_name: str
    user_id: str
    status: RunStatus
    start_time_ms: int
    end_time_ms: int | None
    artifact_uri: str
    lifecycle_stage: str = "active"

    @property
    def start_time(self) -> int:
        """MLflow's name for `start_time_ms`."""
        return self.start_time_ms

    @property
    def end_time(self) -> int | None:
        """MLflow's name for `end_time_ms`."""
        return self.end_time_ms


@frozen
class Experiment:
    """An experiment; times are milliseconds since the epoch. Its tags lie beside its `meta.yaml`."""

    experiment_id: str
    name: str
    artifact_location: str
    creation_time_ms: int
    last_update_time_ms: int
    lifecycle_stage: str = "active"
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The experiment's id, as MLflow's R package has it (`mlflow_id`)."""
        return self.experiment_id

    @property
    def creation_time(self) -> int:
        """MLflow's name for `creation_time_ms`."""
        return self.creation_time_ms

    @property
    def last_update_time(self) -> int:
        """MLflow's name for `last_update_time_ms`."""
        return self.last_update_time_ms


def check_key(kind: str, key: str) -> None:
    """Refuse a key that could leave its directory or that MLflow refuses. Raises TrackingError."""
    parts = key.split("/") if isinstance(key, str) else [""]
    if any(part in ("", ".", "..") or HALF_WRITTEN.fullmatch(part) for part in parts) or not _KEY.fullmatch(key):
        raise TrackingError(
            f"`{key}` is no name for a {kind}",
            hint="1 to 250 letters, digits, `_-. :` and single `/` between them",
        )


_UNUSED: dict[str, object] = {
    "entry_point_name": "",
    "source_name": "",
    "source_type": 4,
    "source_version": "",
    "tags": [],
}


def _list_run_fields(info: RunInfo) -> dict[str, object]:
    return {
        "artifact_uri": info.artifact_uri,
        "end_time": info.end_time_ms,
        "experiment_id": info.experiment_id,
        "lifecycle_stage": info.lifecycle_stage,
        "run_id": info.run_id,
        "run_name": info.run_name,
        "run_uuid": info.run_id,
        "start_time": info.start_time_ms,
        "status": info.status.number,
        "user_id": info.user_id,
    }


def format_run_meta(info: RunInfo) -> str:
    """Return the `meta.yaml` of a run, with the fields that MLflow writes and no longer uses."""
    return format_flat(_UNUSED | _list_run_fields(info))


def edit_run_meta(text: str, info: RunInfo, *, now_ms: int) -> str:
    """Return a run's `meta.yaml` with what `info` says; fields that we do not know stay.

    A deleted run says since when: what `mlflow gc --older-than` goes by. Raises TrackingError.
    """
    fields = _load(text, "meta.yaml") | _list_run_fields(info)
    deleted_ms = fields.pop("deleted_time", None) or now_ms
    return format_flat(fields if info.lifecycle_stage == "active" else fields | {"deleted_time": deleted_ms})


def _whole(value: object) -> int:
    if not isinstance(value, int | str):
        raise TypeError(f"{value!r} is no whole number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{number} has more than 64 bits")
    return number


def _parse_status(value: object) -> RunStatus:
    """Return the status of a number, or of the word that some tools write."""
    if isinstance(value, str) and not value.isdecimal():
        return RunStatus(value)
    number = _whole(value)
    if not 1 <= number <= len(_STATUSES):
        raise ValueError(f"{number} is no status")
    return _STATUSES[number - 1]


def _load(text: str, where: str) -> dict[str, object]:
    try:
        return parse_flat(text, where=where)
    except ProjectError as error:
        raise TrackingError(error.message, hint=error.hint) from error


_USUAL = compile_later(
    r"artifact_uri: (file:/[\w.,/%+@~-]*|/[\w./+@-]*)\n(?:deleted_time: \d+\n)?end_time: (null|0|[1-9]\d{0,16})\n"
    r"entry_point_name: ''\nexperiment_id: '(\d+)'\nlifecycle_stage: (active|deleted)\n"
    r"run_id: ((?=[0-9e]*[abcdf])[0-9a-f]{32})\nrun_name: ([A-Za-z]+-[\w.-]+)\nrun_uuid: [0-9a-f]{32}\n"
    r"source_name: ''\nsource_type: 4\nsource_version: ''\nstart_time: (0|[1-9]\d{0,16})\n"
    r"status: ([1-5])\ntags: \[\]\nuser_id: ([A-Za-z][\w.-]*)\n",
    re.ASCII,
)


def _parse_usual_run(text: str) -> RunInfo | None:
    """Return what a `meta.yaml` says that is written as almost all are: at once, which is what many runs need."""
    found = _USUAL.fullmatch(text)
    if not found or found[9].lower() in WORDS:
        return None
    uri, end, experiment_id, stage, run_id, name, start, status, user_id = found.groups()
    return RunInfo(
        run_id=run_id, experiment_id=experiment_id, run_name=name, user_id=user_id,
        status=_STATUSES[int(status) - 1], start_time_ms=int(start), end_time_ms=None if end == "null" else int(end),
        artifact_uri=uri, lifecycle_stage=stage,
    )  # fmt: skip


def parse_run_meta(text: str, *, where: str = "meta.yaml") -> RunInfo:
    """Return what a run's `meta.yaml` says. Raises TrackingError."""
    if usual := _parse_usual_run(text):
        return usual
    content = _load(text, where)
    try:
        end = content.get("end_time")
        return RunInfo(
            run_id=str(content["run_id"]),
            experiment_id=str(content["experiment_id"]),
            run_name=str(content.get("run_name") or ""),
            user_id=str(content.get("user_id") or ""),
            status=_parse_status(content["status"]),
            start_time_ms=_whole(content["start_time"]),
            end_time_ms=None if end is None else _whole(end),
            artifact_uri=str(content["artifact_uri"]),
            lifecycle_stage=str(content.get("lifecycle_stage", "active")),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(f"`{where}` is no run's meta.yaml ({error})") from error


def _list_experiment_fields(experiment: Experiment) -> dict[str, object]:
    return {
        "artifact_location": experiment.artifact_location,
        "creation_time": experiment.creation_time_ms,
        "experiment_id": experiment.experiment_id,
        "last_update_time": experiment.last_update_time_ms,
        "lifecycle_stage": experiment.lifecycle_stage,
        "name": experiment.name,
    }


def format_experiment_meta(experiment: Experiment) -> str:
    """Return the `meta.yaml` of an experiment."""
    return format_flat(_list_experiment_fields(experiment))


def edit_experiment_meta(text: str, experiment: Experiment) -> str:
    """Return an experiment's `meta.yaml` with what `experiment` says; fields that we do not know stay.

    Raises TrackingError.
    """
    return format_flat(_load(text, "meta.yaml") | _list_experiment_fields(experiment))


def parse_experiment_meta(text: str, *, where: str = "meta.yaml") -> Experiment:
    """Return what an experiment's `meta.yaml` says. Raises TrackingError."""
    content = _load(text, where)
    try:
        return Experiment(
            experiment_id=str(content["experiment_id"]),
            name=str(content["name"]),
            artifact_location=str(content["artifact_location"]),
            creation_time_ms=(created := _whole(content.get("creation_time") or 0)),
            last_update_time_ms=created if (last := content.get("last_update_time")) is None else _whole(last),
            lifecycle_stage=str(content.get("lifecycle_stage", "active")),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TrackingError(f"`{where}` is no experiment's meta.yaml ({error})") from error


class MetricPoint(NamedTuple):
    """One value of a metric; `timestamp_ms` is milliseconds since the epoch.

    A tuple: a training loop makes many, and a frozen dataclass takes four times as long.
    """

    value: float
    timestamp_ms: int
    step: int = 0

    @property
    def order(self) -> tuple[int, int, float]:
        """What the latest point has the highest of; NaN counts as lowest."""
        return self.step, self.timestamp_ms, -math.inf if math.isnan(self.value) else self.value


def format_metric_line(point: MetricPoint) -> str:
    """Return a point as the line that is appended to the metric's file."""
    return f"{point.timestamp_ms} {point.value!r} {point.step}\n"


def parse_metric_line(line: str) -> MetricPoint:
    """Return the point of a line with 2, 3 or (with a dataset's name and digest) 5 fields. Raises TrackingError."""
    fields = line.split()
    try:
        if len(fields) not in (2, 3, 5):
            raise ValueError(f"{len(fields)} fields")
        step = int(fields[2]) if len(fields) > 2 else 0
        return MetricPoint(value=float(fields[1]), timestamp_ms=int(fields[0]), step=step)
    except ValueError as error:
        raise TrackingError(f"`{line.strip()}` is no metric line ({error})") from error
