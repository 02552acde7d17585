"""Real MLflow clients against the server, and real MLflow on the directory that it leaves."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import TestEnvironment, make_once

from repro.tracking.file_store import FileStore
from repro.tracking.logged_models import LoggedModels
from repro.tracking.registry import Registry
from repro.tracking.run_models import read_model_outputs
from repro.tracking.server import serve_in_background

SCRIPT = Path(__file__).resolve().parents[3] / "fixtures" / "mlflow_client" / "train_and_read.py"
TOKEN = "the-token"
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
READ_DIRECTORY = """
import sys, mlflow, numpy
from mlflow import MlflowClient
client = MlflowClient()
version = client.get_model_version("wine-model", "1")
assert version.current_stage == "Staging" and version.tags == {"checked": "yes"}, version
assert version.aliases == ["champion"], version
assert client.get_registered_model("wine-model").description == "of the cellar"
for uri in ("models:/wine-model/1", "models:/wine-model@champion", "runs:/%s/model" % version.run_id):
    loaded = mlflow.pyfunc.load_model(uri)
    assert numpy.allclose(loaded.predict(numpy.array([[4.0]])), [8.0]), uri
run = client.get_run(version.run_id)
assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["grapes"], run.inputs
model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
assert str(model.status) == "READY" and model.tags["a"] == "b", model
assert {each.key: each.value for each in model.metrics}["checked"] == 0.9, model.metrics
assert len(client.search_logged_models([run.info.experiment_id])) == 1
print("read")
"""
WRITE_DIRECTORY = """
import mlflow, numpy
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
client = MlflowClient()
with mlflow.start_run():
    model = LinearRegression().fit(numpy.array([[1.0], [2.0]]), [1, 2])
    info = mlflow.sklearn.log_model(model, name="model", registered_model_name="reg")
    mlflow.log_metric("m1", 1.0, model_id=info.model_id)
client.set_registered_model_alias("reg", "champ", "1")
client.set_registered_model_tag("reg", "a", "b")
client.update_registered_model("reg", "descr")
client.set_model_version_tag("reg", "1", "vt", "x")
client.transition_model_version_stage("reg", "1", "Production")
client.create_registered_model("plain")
"""


def run_script(environment: TestEnvironment, *arguments: str, cwd: Path, **variables: str) -> str:
    """Run a script in an environment with MLflow, and return what it prints."""
    environ = {name: value for name, value in os.environ.items() if not name.endswith(("_proxy", "_PROXY"))}
    done = subprocess.run(
        [environment.python, "-W", "ignore", *arguments],
        cwd=cwd, env={**environ, "HOME": str(cwd), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", **variables},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def server_uri(store: FileStore) -> Iterator[str]:
    """A server that asks for a token."""
    endpoint = serve_in_background(store, token=TOKEN)
    yield endpoint.uri
    endpoint.close()


@pytest.mark.mlflow
def test_the_newest_client_logs_and_reads_back_and_mlflow_reads_the_directory(
    mlflow: TestEnvironment, server_uri: str, store: FileStore, tmp_path: Path
) -> None:
    said = run_script(mlflow, str(SCRIPT), server_uri, cwd=tmp_path, MLFLOW_TRACKING_TOKEN=TOKEN)
    assert said.splitlines()[-1] == "all read back"
    variables = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": store.uri}
    assert run_script(mlflow, "-c", READ_DIRECTORY, cwd=tmp_path, **variables).splitlines()[-1] == "read"
    run_script(
        mlflow,
        "-m",
        "mlflow",
        "migrate-filestore",
        "--source",
        str(store.root),
        "--target",
        "sqlite:///x.db",
        cwd=tmp_path,
    )
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        for table, number in (
            ("runs", 3),
            ("logged_models", 1),
            ("model_versions", 1),
            ("registered_model_aliases", 1),
        ):
            assert database.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (number,), table


@pytest.mark.mlflow
def test_models_that_mlflow_wrote_to_a_directory_are_served(mlflow: TestEnvironment, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "mlruns")
    variables = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": store.uri}
    run_script(mlflow, "-c", WRITE_DIRECTORY, cwd=tmp_path, **variables)
    registry = Registry(store.root)
    assert [each.name for each in registry.list_models()] == ["plain", "reg"]
    model, version = registry.get_model("reg"), registry.get_version("reg", 1)
    assert (model.description, model.tags, model.aliases) == ("descr", {"a": "b"}, {"champ": 1})
    assert (version.stage, version.tags, version.aliases) == ("Production", {"vt": "x"}, ("champ",))
    logged = LoggedModels(store.root).get(str(version.model_id))
    assert [(each.key, each.point.value) for each in logged.metrics] == [("m1", 1.0)]
    assert logged.status.name == "READY"
    assert LoggedModels(store.root).open_artifacts(logged.model_id).read("MLmodel")
    outputs = read_model_outputs(store.find_run_dir(str(logged.source_run_id)))
    assert [each.model_id for each in outputs] == [logged.model_id]


OLD_RELEASES = {
    "mlflow-1.30": ("3.8", ["mlflow==1.30.1", "scikit-learn<1.2", "numpy<1.24", "pandas<2", "setuptools<70"]),
    "mlflow-2.19": ("3.11", ["mlflow==2.19.0", "scikit-learn<1.6", "pandas<2.3", "setuptools<70"]),
}


@pytest.mark.mlflow_old
@pytest.mark.skipif(not os.environ.get("REPRO_TEST_ALL"), reason="REPRO_TEST_ALL is not set: older MLflow is large")
@pytest.mark.parametrize("release", OLD_RELEASES)
def test_older_clients_log_and_read_back(release: str, server_uri: str, tmp_path: Path) -> None:
    version, requirements = OLD_RELEASES[release]
    pythons = sorted(PYENV.glob(f"{version}.*/bin/python"))
    if not pythons:
        pytest.skip(f"there is no Python {version} here")
    environment = make_once(release, *requirements, python=str(pythons[-1]))
    said = run_script(environment, str(SCRIPT), server_uri, cwd=tmp_path, MLFLOW_TRACKING_TOKEN=TOKEN)
    assert said.splitlines()[-1] == "all read back"
