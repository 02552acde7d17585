"""Real MLflow and we read each other's directories, and its tools take ours."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
from conftest import TestEnvironment
from readable_store import ReadableStore

from repro.tracking.client import Client
from repro.tracking.entities import Dataset, Run, RunQuery, ViewType

pytestmark = [pytest.mark.mlflow, pytest.mark.index, pytest.mark.xdist_group("mlflow")]

READ = """
import json, sys
from mlflow import MlflowClient
from mlflow.entities import ViewType
client = MlflowClient(sys.argv[1])

def describe(run):
    history = {key: [[p.value, p.timestamp, p.step] for p in client.get_metric_history(run.info.run_id, key)]
               for key in run.data.metrics}
    return {
        "id": run.info.run_id, "name": run.info.run_name, "status": run.info.status, "start": run.info.start_time,
        "end": run.info.end_time, "stage": run.info.lifecycle_stage, "experiment": run.info.experiment_id,
        "params": run.data.params, "tags": run.data.tags, "metrics": run.data.metrics, "history": history,
        "datasets": [[each.dataset.name, each.dataset.digest, {tag.key: tag.value for tag in each.tags}]
                     for each in run.inputs.dataset_inputs],
        "artifacts": list_files(run.info.run_id, None),
    }

def list_files(run_id, path):
    found = []
    for each in client.list_artifacts(run_id, path):
        found += list_files(run_id, each.path) if each.is_dir else [[each.path, each.file_size]]
    return found

experiments = client.search_experiments(view_type=ViewType.ALL)
runs = client.search_runs([e.experiment_id for e in experiments], run_view_type=ViewType.ALL)
print(json.dumps({
    "experiments": sorted([e.experiment_id, e.name, e.lifecycle_stage, dict(e.tags)] for e in experiments),
    "runs": sorted((describe(run) for run in runs), key=lambda each: each["id"]),
}))
"""

WRITE = """
import sys, tempfile, pathlib, math
import mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("wine")
mlflow.set_experiment_tags({"team": "x"})
with mlflow.start_run(run_name="outer", description="why", tags={"a/b": "c"}) as outer:
    mlflow.log_params({"alpha": 0.5, "group/deep": "ü", "empty": ""})
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"bad": math.nan, "big": math.inf, "a/b": -1})
    mlflow.log_text("hello", "notes/a.txt")
    mlflow.log_dict({"a": 1}, "d.json")
    mlflow.log_input(mlflow.data.from_numpy(__import__("numpy").zeros((2, 2)), name="zeros"), context="training")
    with mlflow.start_run(nested=True):
        mlflow.log_param("p", 1)
try:
    with mlflow.start_run(run_name="failed"):
        raise ValueError
except ValueError:
    pass
client = MlflowClient()
gone = client.create_run("0", run_name="gone")
client.delete_run(gone.info.run_id)
client.delete_experiment(client.create_experiment("old"))
"""


def run_mlflow(mlflow: TestEnvironment, code: str, *args: str) -> str:
    return subprocess.run(
        [mlflow.python, "-c", code, *args],
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def list_all_files(store: ReadableStore, run_id: str) -> list[list[object]]:
    artifacts = store.open_artifacts(run_id)
    return [[path, artifacts.locate(path).stat().st_size] for path in artifacts.list_files()]


def describe(store: ReadableStore, run: Run) -> dict[str, object]:
    history = {
        key: [[p.value, p.timestamp_ms, p.step] for p in store.get_metric_history(run.run_id, key)]
        for key in run.data.points
    }
    return {
        "id": run.run_id, "name": run.info.run_name, "status": str(run.info.status), "start": run.info.start_time_ms,
        "end": run.info.end_time_ms, "stage": run.info.lifecycle_stage, "experiment": run.info.experiment_id,
        "params": dict(run.data.params), "tags": dict(run.data.tags), "metrics": run.data.metrics, "history": history,
        "datasets": [[each.name, each.digest, dict(each.tags)] for each in run.datasets],
        "artifacts": list_all_files(store, run.run_id),
    }  # fmt: skip


def describe_store(store: ReadableStore) -> str:
    """Return everything as text, in which NaN equals NaN."""
    experiments = Client(store=store).search_experiments(ViewType.ALL).items
    query = RunQuery(experiment_ids=tuple(each.experiment_id for each in experiments), view=ViewType.ALL)
    runs = [describe(store, run) for run in store.search_runs(query)]
    return normalize(
        {
            "experiments": sorted([e.experiment_id, e.name, e.lifecycle_stage, dict(e.tags)] for e in experiments),
            "runs": sorted(runs, key=lambda each: str(each["id"])),
        }
    )


def normalize(content: object) -> str:
    return json.dumps(content, sort_keys=True, indent=1)


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    """A directory with everything that can be logged."""
    store = ReadableStore(tmp_path / "our runs")
    client = Client(store=store)
    experiment_id = client.create_experiment("wine", tags={"team": "x", "a/b": "c"})
    outer = client.create_run(experiment_id, run_name="it's: a #name", tags={"mlflow.note.content": "**why**\n\n- a"})
    client.log_batch(
        outer.run_id,
        [{"key": "loss", "value": 1 / step, "step": step, "timestamp": step} for step in range(1, 50)],
        {"alpha": 0.5, "group/deep": "ü 🙂", "empty": "", "lines": "a\r\nb\n", "number": "0123"},
        {"t.u-v w": " x "},
    )
    for key, value in (("nan", math.nan), ("inf", math.inf), ("less", -math.inf), ("a/b.c", 1e-300)):
        client.log_metric(outer.run_id, key, value, timestamp=7, step=-3)
    client.log_text(outer.run_id, "hello\n", "notes/ä b.txt")
    client.log_dict(outer.run_id, {"a": [1]}, "d.yaml")
    store.log_datasets(
        outer.run_id,
        (Dataset(name="wine", digest="d1", source_type="local", source='{"uri": "x"}', schema="{}",
                 tags={"mlflow.data.context": "training"}),),
    )  # fmt: skip
    client.set_terminated(outer.run_id, "KILLED", end_time=12345)
    client.create_run(experiment_id, tags={"mlflow.parentRunId": outer.run_id})
    client.delete_run(client.create_run(run_name="gone").run_id)
    old = client.create_experiment("old")
    client.create_run(old, run_name="in the trash")
    client.delete_experiment(old)
    return store


def test_mlflow_reads_everything_that_we_wrote(store: ReadableStore, mlflow: TestEnvironment) -> None:
    assert normalize(json.loads(run_mlflow(mlflow, READ, store.uri))) == describe_store(store)


def test_we_read_everything_that_mlflow_wrote(tmp_path: Path, mlflow: TestEnvironment) -> None:
    store = ReadableStore(tmp_path / "their runs")
    run_mlflow(mlflow, WRITE, store.uri)
    assert normalize(json.loads(run_mlflow(mlflow, READ, store.uri))) == describe_store(store)


def test_both_write_into_one_directory(store: ReadableStore, mlflow: TestEnvironment) -> None:
    code = (
        "import sys, mlflow\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "with mlflow.start_run(run_id=sys.argv[2]): mlflow.log_metric('theirs', 2); mlflow.set_tag('t', 'theirs')\n"
    )
    run = Client(store=store).create_run()
    Client(store=store).log_metric(run.run_id, "ours", 1)
    run_mlflow(mlflow, code, store.uri, run.run_id)
    assert store.read_metrics(run.run_id) == {"ours": 1.0, "theirs": 2.0}
    assert store.get_info(run.run_id).status == "FINISHED"
    assert normalize(json.loads(run_mlflow(mlflow, READ, store.uri))) == describe_store(store)


def test_mlflow_migrates_our_directory_to_its_database(
    store: ReadableStore, mlflow: TestEnvironment, tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path / 'runs.db'}"
    command = str(Path(mlflow.python).with_name("mlflow"))
    subprocess.run(
        [command, "migrate-filestore", "--source", str(store.root), "--target", target],
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"}, check=True, capture_output=True,
    )  # fmt: skip
    ours = json.loads(describe_store(store).replace(r"\r\n", r"\n"))  # its migration reads text with line ends changed
    theirs = json.loads(normalize(json.loads(run_mlflow(mlflow, READ, target))))
    for run in ours["runs"]:
        (migrated,) = [each for each in theirs["runs"] if each["id"] == run["id"]]
        for part in ("name", "status", "start", "end", "stage", "params", "artifacts", "datasets"):
            assert migrated[part] == run[part], part
        assert {key: value for key, value in migrated["tags"].items() if key in run["tags"]} == run["tags"]
        assert sorted(migrated["history"]) == sorted(run["history"])
        assert sorted(migrated["history"].get("loss", [])) == sorted(run["history"].get("loss", []))
