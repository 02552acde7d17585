"""Models that a real MLflow has logged and registered: on its own server, and in its own directory."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import TestEnvironment
from mlflow_server import MlflowServer

import repro
from repro.environments.store import Store
from repro.errors import ModelError
from repro.models.directory import read_directory
from repro.models.resolve import FoundModel, find_model
from repro.models.trust import runs_code
from repro.tracking.client import Client

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.xdist_group("mlflow_server"),
    pytest.mark.skipif("REPRO_TEST_ALL" not in os.environ, reason="asks a server of MLflow; scripts/test-all"),
]
LOG = """
import json, sys, mlflow
from mlflow import MlflowClient

class Tiny(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [1.0]

made = {}
for uri in sys.argv[1:]:
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("tiny")
    with mlflow.start_run() as run:
        options = {"python_model": Tiny(), "pip_requirements": ["numpy==2.0.0"]}
        info = mlflow.pyfunc.log_model(name="model", registered_model_name="tiny", **options)
    client = MlflowClient()
    client.set_registered_model_alias("tiny", "champion", "1")
    client.transition_model_version_stage("tiny", "1", "Staging")
    made[uri] = {"run_id": run.info.run_id, "model_id": info.model_id,
                 "artifact_uri": client.get_logged_model(info.model_id).artifact_location}
print("made", json.dumps(made))
"""


@dataclass(frozen=True)
class Logged:
    """What MLflow has logged to a tracking URI."""

    uri: str
    run_id: str
    model_id: str
    artifact_uri: str

    @property
    def names(self) -> list[str]:
        """Every URI of the one model."""
        return [
            "models:/tiny/1", "models:/tiny/latest", "models:/tiny/Staging", "models:/tiny@champion",
            f"models:/{self.model_id}", f"runs:/{self.run_id}/model", self.artifact_uri,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def logged(
    mlflow: TestEnvironment, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Logged]:
    """A tiny model of one run on the server, and in a directory."""
    home = tmp_path_factory.mktemp("client")
    uris = {"server": mlflow_server.url, "directory": (home / "mlruns").as_uri()}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "REPRO_"))}
    environ |= {"HOME": str(home), "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [mlflow.python, "-W", "ignore", "-c", LOG, *uris.values()],
        cwd=home, env=environ, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads(done.stdout.rpartition("made ")[2])
    return {kind: Logged(uri, **made[uri]) for kind, uri in uris.items()}


def find_all(one: Logged, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[FoundModel]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", one.uri)
    monkeypatch.setenv("REPRO_OUTBOX", str(tmp_path / "outbox"))
    return [find_model(each, store=store) for each in one.names]


def test_every_name_of_a_model_on_mlflows_server_leads_to_it(
    logged: dict[str, Logged], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = logged["server"]
    found = find_all(one, Store(str(tmp_path / "cache" / "repro")), monkeypatch, tmp_path)
    assert [each.name for each in found] == one.names
    assert all(each.is_foreign for each in found)
    assert len({each.path for each in found}) == 1
    directory = read_directory(found[0].path)
    assert runs_code(directory)
    assert (directory.path / "python_model.pkl").stat().st_size > 0
    version = Client().get_model_version("tiny", 1)
    assert (version.model_id, version.aliases, version.stage) == (one.model_id, ("champion",), "Staging")
    monkeypatch.setenv("MLFLOW_SNAPSHOT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="comes from a server"):
        repro.load_model("models:/tiny@champion")
    again = repro.register_model(f"runs:/{one.run_id}/model", "tiny-again")
    assert (again.source, again.model_id) == (f"models:/{one.model_id}", one.model_id)


def test_every_name_of_a_model_in_mlflows_directory_leads_to_where_it_lies(
    logged: dict[str, Logged], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = logged["directory"]
    found = find_all(one, Store(str(tmp_path / "cache" / "repro")), monkeypatch, tmp_path)
    assert {each.path.as_uri() for each in found} == {one.artifact_uri}
    assert not any(each.is_foreign for each in found)
    assert not (tmp_path / "cache").exists()
