"""Logging a model to a run: where it lies, what the run's history says, on a directory and on a server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Api
from conftest import Cli, LocalIndex, TestEnvironment

import repro
from repro.formats.lockfile import parse_snapshot
from repro.formats.mlmodel import parse_mlmodel
from repro.tracking.client import Client


class Model:
    """A model."""

    def predict(self, data: list[float]) -> list[float]:
        """Return what is asked."""
        return data


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[repro.ActiveRun]:
    """An active run that keeps no record of itself."""
    monkeypatch.setenv("REPRO_SNAPSHOT", "0")
    with repro.start_run() as active:
        yield active


def log(path: str = "model", **options: object) -> repro.ModelInfo:
    return repro.log_model(Model(), path, snapshot=False, code_paths=[__file__], **options)  # type: ignore[arg-type]


def test_a_model_lies_below_its_path_and_says_whose_it_is(run: repro.ActiveRun) -> None:
    info = log("deep/model", input_example=[1.0])
    assert (info.uri, info.run_id, info.artifact_path) == (f"runs:/{run.run_id}/deep/model", run.run_id, "deep/model")
    assert info.signature == repro.infer_signature([1.0], [1.0])
    model = parse_mlmodel(Path(repro.download_artifacts(f"{info.uri}/MLmodel")).read_text())
    assert (model.run_id, model.artifact_path, model.model_uuid) == (run.run_id, "deep/model", info.model_uuid)


def test_the_history_of_many_models_stays_short_enough_for_a_tag(run: repro.ActiveRun) -> None:
    for number in range(14):
        log(f"model{number}")
    text = run.data.tags["mlflow.log-model.history"]
    assert len(text) <= 5000
    assert json.loads(text)[-1]["artifact_path"] == "model13"


@pytest.mark.parametrize("damage", ["no json", '{"a": 1}'])
def test_a_damaged_history_is_begun_anew(run: repro.ActiveRun, damage: str) -> None:
    repro.set_tag("mlflow.log-model.history", damage)
    log()
    assert len(json.loads(run.data.tags["mlflow.log-model.history"])) == 1


@pytest.mark.parametrize("path", ["", "/model", "../model", "a/../../b", "a//b", "."])
def test_a_path_that_leads_out_is_refused_before_anything_is_saved(run: repro.ActiveRun, path: str) -> None:
    with pytest.raises(repro.TrackingError, match="is no place among a run's artifacts"):
        log(path)
    assert repro.list_artifacts() == []


def test_a_model_that_cannot_be_saved_leaves_nothing_with_the_run(run: repro.ActiveRun) -> None:
    with pytest.raises(repro.ModelError):
        repro.log_model(5, "model")
    assert repro.list_artifacts() == []


def test_a_server_takes_a_model(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_SNAPSHOT", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", api.uri)
    with repro.start_run() as active:
        log("model")
    paths = {each.path for each in Client(api.uri).list_artifacts(active.run_id, "model")}
    assert {"model/MLmodel", "model/code", "model/model.pkl", "model/requirements.txt"} <= paths


SCRIPT = """
import alpha, repro
from model import Model
repro.log_model(Model(), "model", code_paths=["model.py"])
"""


def test_a_model_of_a_runners_run_has_the_runs_own_lock(
    environment: TestEnvironment, index: LocalIndex, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    Path("project").mkdir()
    Path("project", "model.py").write_text("class Model:\n    def predict(self, data):\n        return data\n")
    Path("project", "train.py").write_text(SCRIPT)
    cli("run", "project", "-e", "train.py")
    asked = index.requests
    (model,) = Path("mlruns").glob("0/*/artifacts/model")
    text = (model / "requirements-lock.txt").read_text()
    lock = parse_snapshot(text, where="lock")
    of_run = parse_snapshot((model.parent / "requirements-lock.txt").read_text(), where="lock")
    assert lock.is_hashed
    assert [each.hashes for each in lock.distributions] == [each.hashes for each in of_run.distributions]
    assert lock.compute_digest() == of_run.compute_digest()
    assert index.requests == asked
    assert os.listdir(model / "code/").count("model.py") == 1
