"""Write runs as MLflow's FileStore keeps them, without any store: plain files, quickly."""

from __future__ import annotations

import hashlib
from pathlib import Path

from repro.formats.fields import dump_mapping
from repro.formats.run_meta import (
    Experiment,
    MetricPoint,
    RunInfo,
    RunStatus,
    format_experiment_meta,
    format_metric_line,
    format_run_meta,
)
from repro.tracking.entities import Dataset, Run, RunData


def make_run(
    number: int, *, metrics: dict[str, float] | None = None, params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None, datasets: tuple[Dataset, ...] = (), experiment_id: str = "0",
    start_time_ms: int = 1000, status: RunStatus = RunStatus.FINISHED, name: str | None = None, stage: str = "active",
) -> Run:  # fmt: skip
    """Return a run whose id is a digest of its number, so that ids and numbers have different orders."""
    run_id = hashlib.sha256(f"{experiment_id} {number}".encode()).hexdigest()[:32]
    info = RunInfo(
        run_id=run_id, experiment_id=experiment_id, run_name=name or f"run-{number}", user_id="ada",
        status=status, start_time_ms=start_time_ms, end_time_ms=start_time_ms + 5 if status.is_final else None,
        artifact_uri=f"file:///somewhere/{experiment_id}/{run_id}/artifacts", lifecycle_stage=stage,
    )  # fmt: skip
    points = {key: MetricPoint(value=value, timestamp_ms=1, step=0) for key, value in (metrics or {}).items()}
    return Run(info=info, data=RunData(points=points, params=params or {}, tags=tags or {}), datasets=datasets)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())


def _write_dataset(experiment_dir: Path, run_dir: Path, dataset: Dataset) -> None:
    source_id = hashlib.md5(f"{dataset.name} {dataset.digest}".encode(), usedforsecurity=False).hexdigest()
    meta = {"digest": dataset.digest, "name": dataset.name, "profile": dataset.profile, "schema": dataset.schema,
            "source": dataset.source, "source_type": dataset.source_type}  # fmt: skip
    _write(experiment_dir / "datasets" / source_id / "meta.yaml", dump_mapping(meta))
    given = {"destination_id": run_dir.name, "destination_type": "RUN", "source_id": source_id,
             "source_type": "DATASET", "tags": dict(dataset.tags)}  # fmt: skip
    _write(run_dir / "inputs" / f"of-{source_id}" / "meta.yaml", dump_mapping(given))


def write_experiment(
    root: Path, experiment_id: str, name: str, *, created: int = 1000, updated: int = 1000, stage: str = "active",
    tags: dict[str, str] | None = None,
) -> Experiment:  # fmt: skip
    """Write an experiment without runs."""
    experiment = Experiment(
        experiment_id=experiment_id, name=name, artifact_location=(root / experiment_id).as_uri(),
        creation_time_ms=created, last_update_time_ms=updated, lifecycle_stage=stage, tags=tags or {},
    )  # fmt: skip
    place = root / experiment_id if experiment.lifecycle_stage == "active" else root / ".trash" / experiment_id
    _write(place / "meta.yaml", format_experiment_meta(experiment))
    for key, value in experiment.tags.items():
        _write(place / "tags" / key, value)
    (root / ".trash").mkdir(exist_ok=True)
    return experiment


def write_run(root: Path, run: Run) -> Path:
    """Write a run into its experiment and return its directory."""
    run_dir = root / run.info.experiment_id / run.run_id
    for part in ("params", "metrics", "tags", "artifacts"):
        (run_dir / part).mkdir(parents=True)
    for key, point in run.data.points.items():
        _write(run_dir / "metrics" / key, format_metric_line(point))
    for part, values in (("params", run.data.params), ("tags", run.data.tags)):
        for key, value in values.items():
            _write(run_dir / part / key, value)
    for dataset in run.datasets:
        _write_dataset(run_dir.parent, run_dir, dataset)
    _write(run_dir / "meta.yaml", format_run_meta(run.info))
    return run_dir
