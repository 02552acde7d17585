"""Runs as a pandas DataFrame with MLflow's columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repro.errors import TrackingError
from repro.tracking.entities import Run


def make_frame(runs: Sequence[Run]) -> Any:
    """Return a DataFrame with a row for each run; what a run has not is NaN among metrics, else None.

    Raises TrackingError where pandas is not there.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise TrackingError("a DataFrame needs pandas", hint="pip install pandas, or ask for `list`") from error
    infos = [run.info for run in runs]
    columns: dict[str, object] = {
        "run_id": [info.run_id for info in infos],
        "experiment_id": [info.experiment_id for info in infos],
        "status": [str(info.status) for info in infos],
        "artifact_uri": [info.artifact_uri for info in infos],
        "start_time": pd.to_datetime([info.start_time_ms for info in infos], unit="ms", utc=True),
        "end_time": pd.to_datetime([info.end_time_ms for info in infos], unit="ms", utc=True),
    }
    for key in sorted({key for run in runs for key in run.data.points}):
        columns[f"metrics.{key}"] = [run.data.metrics.get(key, float("nan")) for run in runs]
    for key in sorted({key for run in runs for key in run.data.params}):
        columns[f"params.{key}"] = [run.data.params.get(key) for run in runs]
    for key in sorted({key for run in runs for key in run.data.tags}):
        columns[f"tags.{key}"] = [run.data.tags.get(key) for run in runs]
    return pd.DataFrame(columns)
