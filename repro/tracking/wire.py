"""Runs and experiments as the JSON of MLflow's REST API 2.0, both ways: what the client reads, the server writes.

Numbers that JSON has no word for are the texts `NaN`, `Infinity` and `-Infinity`; a list that is empty may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from repro.errors import TrackingError
from repro.formats.run_meta import Experiment, MetricPoint, RunInfo, RunStatus
from repro.tracking.entities import Artifact, Batch, Dataset, Metric, NewRun, Run, RunData

Fields = Mapping[str, object]


def get_text(fields: Fields, key: str) -> str:
    """Return a field that must be a text. Raises TrackingError."""
    value = fields.get(key)
    if not isinstance(value, str):
        raise TrackingError(f"`{key}` is {value!r}, and not a text")
    return value


def find_text(fields: Fields, key: str) -> str | None:
    """Return a field that may be missing. Raises TrackingError for what is no text."""
    return None if fields.get(key) is None else get_text(fields, key)


def find_whole(fields: Fields, key: str) -> int | None:
    """Return a whole number, as number or text (JSON of 64-bit numbers), of 64 bits. Raises TrackingError."""
    value = fields.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        whole = int(value)
        if (isinstance(value, float) and value != whole) or not -(2**63) <= whole < 2**63:
            raise ValueError
        return whole
    except (ValueError, OverflowError) as error:
        raise TrackingError(f"`{key}` is {value!r}, and not a whole number") from error


def get_whole(fields: Fields, key: str) -> int:
    """Return a whole number that must be there. Raises TrackingError."""
    value = find_whole(fields, key)
    if value is None:
        raise TrackingError(f"`{key}` is missing")
    return value


def list_fields(fields: Fields, key: str) -> list[Fields]:
    """Return a list of objects; an empty one where it is missing. Raises TrackingError."""
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TrackingError(f"`{key}` is {value!r}, and not a list of objects")
    return value


def list_texts(fields: Fields, key: str) -> tuple[str, ...]:
    """Return a list of texts; an empty one where it is missing. Raises TrackingError."""
    value = fields.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TrackingError(f"`{key}` is {value!r}, and not a list of texts")
    return tuple(value)


def parse_pairs(entries: Iterable[Fields]) -> dict[str, str]:
    """Return the keys and values of tags or parameters. Raises TrackingError."""
    return {get_text(each, "key"): find_text(each, "value") or "" for each in entries}


def format_pairs(pairs: Mapping[str, str]) -> list[Fields]:
    """Return tags or parameters as the API has them."""
    return [{"key": key, "value": value} for key, value in pairs.items()]


def parse_number(value: object) -> float:
    """Return the value of a metric. Raises TrackingError."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError) as error:
        raise TrackingError(f"the metric's value is {value!r}, and not a number") from error


def format_number(value: float) -> float | str:
    """Return the value of a metric as JSON can say it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def parse_metric(fields: Fields) -> Metric:
    """Return a metric's point. Raises TrackingError."""
    point = MetricPoint(
        value=parse_number(fields.get("value")),
        timestamp_ms=get_whole(fields, "timestamp"),
        step=find_whole(fields, "step") or 0,
    )
    return Metric(key=get_text(fields, "key"), point=point)


def format_metric(metric: Metric) -> Fields:
    """Return a metric's point as the API has it."""
    point = metric.point
    return {
        "key": metric.key,
        "value": format_number(point.value),
        "timestamp": point.timestamp_ms,
        "step": point.step,
    }


def parse_batch(fields: Fields) -> Batch:
    """Return what a `runs/log-batch` logs. Raises TrackingError."""
    return Batch(
        metrics=tuple(parse_metric(each) for each in list_fields(fields, "metrics")),
        params=parse_pairs(list_fields(fields, "params")),
        tags=parse_pairs(list_fields(fields, "tags")),
    )


def format_batch(run_id: str, batch: Batch) -> Fields:
    """Return a batch as `runs/log-batch` takes it."""
    return {
        "run_id": run_id,
        "metrics": [format_metric(each) for each in batch.metrics],
        "params": format_pairs(batch.params),
        "tags": format_pairs(batch.tags),
    }


def parse_new_run(fields: Fields) -> NewRun:
    """Return what `runs/create` makes. Raises TrackingError."""
    return NewRun(
        experiment_id=find_text(fields, "experiment_id") or "0",
        user_id=find_text(fields, "user_id") or "",
        start_time_ms=find_whole(fields, "start_time") or 0,
        run_name=find_text(fields, "run_name"),
        tags=parse_pairs(list_fields(fields, "tags")),
    )


def format_new_run(new: NewRun) -> Fields:
    """Return a new run as `runs/create` takes it."""
    name = {"run_name": new.run_name} if new.run_name else {}
    return {
        "experiment_id": new.experiment_id,
        "user_id": new.user_id,
        "start_time": new.start_time_ms,
        "tags": format_pairs(new.tags),
        **name,
    }


def parse_status(word: str) -> RunStatus:
    """Return the status of a word. Raises TrackingError."""
    try:
        return RunStatus(word)
    except ValueError as error:
        raise TrackingError(f"`{word}` is no status of a run", hint=", ".join(RunStatus)) from error


def parse_run_info(fields: Fields) -> RunInfo:
    """Return a run's `info`. Raises TrackingError."""
    return RunInfo(
        run_id=find_text(fields, "run_id") or get_text(fields, "run_uuid"),
        experiment_id=get_text(fields, "experiment_id"),
        run_name=find_text(fields, "run_name") or "",
        user_id=find_text(fields, "user_id") or "",
        status=parse_status(find_text(fields, "status") or "RUNNING"),
        start_time_ms=find_whole(fields, "start_time") or 0,
        end_time_ms=find_whole(fields, "end_time") or None,
        artifact_uri=find_text(fields, "artifact_uri") or "",
        lifecycle_stage=find_text(fields, "lifecycle_stage") or "active",
    )


def format_run_info(info: RunInfo, *, artifact_uri: str | None = None) -> Fields:
    """Return a run's `info`; a server that hands artifacts on says where in `artifact_uri`."""
    end = {} if info.end_time_ms is None else {"end_time": info.end_time_ms}
    return {
        "run_id": info.run_id,
        "run_uuid": info.run_id,
        "experiment_id": info.experiment_id,
        "run_name": info.run_name,
        "user_id": info.user_id,
        "status": str(info.status),
        "start_time": info.start_time_ms,
        **end,
        "artifact_uri": artifact_uri or info.artifact_uri,
        "lifecycle_stage": info.lifecycle_stage,
    }


def parse_dataset(fields: Fields) -> Dataset:
    """Return one of a run's dataset inputs. Raises TrackingError."""
    dataset = fields.get("dataset")
    if not isinstance(dataset, dict):
        raise TrackingError(f"`dataset` is {dataset!r}, and not an object")
    return Dataset(
        name=get_text(dataset, "name"),
        digest=get_text(dataset, "digest"),
        source_type=find_text(dataset, "source_type") or "",
        source=find_text(dataset, "source") or "",
        schema=find_text(dataset, "schema"),
        profile=find_text(dataset, "profile"),
        tags=parse_pairs(list_fields(fields, "tags")),
    )


def format_dataset(dataset: Dataset) -> Fields:
    """Return a dataset input as the API has it."""
    optional = {"schema": dataset.schema, "profile": dataset.profile}
    return {
        "tags": format_pairs(dataset.tags),
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "source_type": dataset.source_type,
            "source": dataset.source,
            **{key: value for key, value in optional.items() if value is not None},
        },
    }


def _get_object(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TrackingError(f"`{key}` is {value!r}, and not an object")
    return value


def parse_run(fields: Fields) -> Run:
    """Return a run. Raises TrackingError."""
    data = _get_object(fields, "data")
    metrics = [parse_metric(each) for each in list_fields(data, "metrics")]
    return Run(
        info=parse_run_info(_get_object(fields, "info")),
        data=RunData(
            points={each.key: each.point for each in metrics},
            params=parse_pairs(list_fields(data, "params")),
            tags=parse_pairs(list_fields(data, "tags")),
        ),
        datasets=tuple(parse_dataset(each) for each in list_fields(_get_object(fields, "inputs"), "dataset_inputs")),
    )


def format_run(run: Run, *, artifact_uri: str | None = None) -> Fields:
    """Return a run as the API has it."""
    data = run.data
    inputs = {"dataset_inputs": [format_dataset(each) for each in run.datasets]} if run.datasets else {}
    return {
        "info": format_run_info(run.info, artifact_uri=artifact_uri),
        "data": {
            "metrics": [format_metric(Metric(key=key, point=point)) for key, point in data.points.items()],
            "params": format_pairs(data.params),
            "tags": format_pairs(data.tags),
        },
        "inputs": inputs,
    }


def parse_experiment(fields: Fields) -> Experiment:
    """Return an experiment. Raises TrackingError."""
    created_ms = find_whole(fields, "creation_time") or 0
    return Experiment(
        experiment_id=get_text(fields, "experiment_id"),
        name=get_text(fields, "name"),
        artifact_location=find_text(fields, "artifact_location") or "",
        creation_time_ms=created_ms,
        last_update_time_ms=find_whole(fields, "last_update_time") or created_ms,
        lifecycle_stage=find_text(fields, "lifecycle_stage") or "active",
        tags=parse_pairs(list_fields(fields, "tags")),
    )


def format_experiment(experiment: Experiment, *, artifact_location: str | None = None) -> Fields:
    """Return an experiment as the API has it."""
    return {
        "experiment_id": experiment.experiment_id,
        "name": experiment.name,
        "artifact_location": artifact_location or experiment.artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "creation_time": experiment.creation_time_ms,
        "last_update_time": experiment.last_update_time_ms,
        "tags": format_pairs(experiment.tags),
    }


def parse_artifact(fields: Fields) -> Artifact:
    """Return a file or directory of a listing; a size of 0 may be missing. Raises TrackingError."""
    is_dir = fields.get("is_dir") is True
    size_bytes = None if is_dir else find_whole(fields, "file_size") or 0
    return Artifact(path=get_text(fields, "path"), is_dir=is_dir, size_bytes=size_bytes)


def format_artifact(artifact: Artifact) -> Fields:
    """Return a file or directory as the API has it."""
    size = {} if artifact.size_bytes is None else {"file_size": artifact.size_bytes}
    return {"path": artifact.path, "is_dir": artifact.is_dir, **size}
