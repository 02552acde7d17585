"""The same names do the same as MLflow's: both are asked in one process, in MLflow's environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment

pytestmark = pytest.mark.mlflow

SIGNATURES = """\
import inspect, json, mlflow, repro
from mlflow import MlflowClient
def list_missing(ours, theirs):
    names = [set(inspect.signature(each).parameters) for each in (theirs, ours)]
    return sorted(names[0] - names[1])
missing = {}
for name in repro.__all__:
    theirs, ours = getattr(mlflow, name, None), getattr(repro, name)
    if inspect.isfunction(theirs) and list_missing(ours, theirs):
        missing[name] = list_missing(ours, theirs)
for name in dir(repro.Client):
    theirs, ours = getattr(MlflowClient, name, None), getattr(repro.Client, name)
    if name[0] != "_" and inspect.isfunction(theirs) and list_missing(ours, theirs):
        missing[f"Client.{name}"] = list_missing(ours, theirs)
missing.pop("run")
print(json.dumps(missing))
"""

FRAMES = """\
import os, mlflow, repro, pandas as pd
repro.set_tracking_uri("runs")
for number in range(3):
    with repro.start_run(run_name=f"r{number}"):
        repro.log_metrics({"loss": 1 / (number + 1), **({"nan": float("nan")} if number else {})})
        repro.log_params({"alpha": number, **({"late": "x"} if number == 1 else {})})
running = repro.start_run()
def compare(**options):
    ours, theirs = repro.search_runs(output_format="pandas", **options), mlflow.search_runs(**options)
    if len(theirs) and theirs["end_time"].isna().all():
        theirs["end_time"] = theirs["end_time"].dt.tz_localize("UTC")  # MLflow's has no zone where no run has ended
    assert sorted(ours.columns) == sorted(theirs.columns) and len(ours) == len(theirs)
    if len(ours):  # of no rows, MLflow's columns of times have no type
        pd.testing.assert_frame_equal(ours[sorted(ours.columns)], theirs[sorted(theirs.columns)])
    assert list(ours.columns[:6]) == list(theirs.columns[:6]), (ours.columns, theirs.columns)
compare()
compare(filter_string="params.alpha = '1'", order_by=["metrics.loss DESC"])
compare(filter_string="status = 'RUNNING'")
compare(filter_string="params.alpha = 'none'")
compare(run_view_type=mlflow.entities.ViewType.DELETED_ONLY)
compare(order_by=None, max_results=2)
"""

FILES = """\
import os, mlflow, repro, numpy as np, pandas as pd
from mlflow import MlflowClient
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
repro.set_tracking_uri("runs")
client = MlflowClient()
figure, axes = plt.subplots(); axes.plot([1, 2])
tables = {
    "mapping": {"a": [1, 2], "b": ["x", "001"]},
    "row": {"a": 1, "b": "x"},
    "arrays": {"a": np.array([1.5, 2.5]), "b": np.array([1, 2])},
    "frame": pd.DataFrame({"t": pd.to_datetime(["2024-01-02", None]), "v": [1.0, float("nan")]}),
}
with repro.start_run() as run:
    ids = {"o": run.run_id, "t": client.create_run("0").info.run_id}
    for name, table in tables.items():
        repro.log_table(table, f"{name}.json")
        client.log_table(ids["t"], table, f"{name}.json")
    repro.log_table({"a": [3], "c": [0.1234567890123]}, "mapping.json")
    for value, name in (({"b": 1, "a": [1, {"x": None}]}, "d.json"), ({"b": 1, "a": ["é"]}, "sub/d.yaml")):
        repro.log_dict(value, name)
        client.log_dict(ids["t"], value, name)
    repro.log_figure(figure, "f.png")
    repro.log_figure(figure, "f.pdf", save_kwargs={"dpi": 30})
    client.log_figure(ids["t"], figure, "f.png")
def read(run_id, name): return open(client.download_artifacts(run_id, name), "rb").read()
for name in ("row.json", "arrays.json", "frame.json"):
    assert read(ids["o"], name) == read(ids["t"], name), (name, read(ids["o"], name), read(ids["t"], name))
import json, yaml
assert json.loads(read(ids["o"], "d.json")) == json.loads(read(ids["t"], "d.json"))
assert yaml.safe_load(read(ids["o"], "sub/d.yaml")) == yaml.safe_load(read(ids["t"], "sub/d.yaml"))
assert read(ids["o"], "f.png")[:8] == read(ids["t"], "f.png")[:8]
table = json.loads(read(ids["o"], "mapping.json"))
assert table == {"columns": ["a", "b", "c"], "data": [[1, "x", None], [2, "001", None], [3, None, 0.1234567890123]]}
loaded = mlflow.load_table("mapping.json", run_ids=[run.run_id])
assert list(loaded["a"]) == [1, 2, 3], loaded
tags = [json.loads(client.get_run(ids[who]).data.tags["mlflow.loggedArtifacts"]) for who in "ot"]
assert tags[0] == tags[1], tags
"""


def run_beside_mlflow(environment: TestEnvironment, tmp_path: Path, script: str) -> str:
    done = subprocess.run(
        [environment.python, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_ALLOW_FILE_STORE": "true", "REPRO_SNAPSHOT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_word_of_mlflows_functions_is_taken_but_those_of_other_subjects(
    mlflow: TestEnvironment, tmp_path: Path
) -> None:
    assert json.loads(run_beside_mlflow(mlflow, tmp_path, SIGNATURES).splitlines()[-1]) == {
        "set_experiment": ["trace_location"],
        "create_experiment": ["trace_location"],
        "start_run": ["log_system_metrics"],
        "log_metric": ["dataset", "model_id"],
        "log_metrics": ["dataset", "model_id"],
        "Client.log_metric": ["dataset_digest", "dataset_name", "model_id"],
        "Client.create_registered_model": ["deployment_job_id"],
        "register_model": ["env_pack"],
    }


def test_a_frame_of_runs_equals_mlflows(mlflow: TestEnvironment, tmp_path: Path) -> None:
    run_beside_mlflow(mlflow, tmp_path, FRAMES)


def test_tables_figures_and_mappings_are_kept_as_mlflow_keeps_them(mlflow: TestEnvironment, tmp_path: Path) -> None:
    run_beside_mlflow(mlflow, tmp_path, FILES)
