"""A script that logs with whatever MLflow it has lands in the run that `repro run` has started."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment
from readable_store import ReadableStore

from repro import settings

POST = """
import json, os, urllib.error, urllib.request
URI, RUN = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_RUN_ID"]

def post(call, token=os.environ["MLFLOW_TRACKING_TOKEN"], **fields):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{URI}/api/2.0/mlflow/{call}", json.dumps(fields).encode(), headers)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
"""


@pytest.fixture
def runs(tmp_path: Path, environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> ReadableStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # what a user's own server needs, and a proxy that is gone
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "mine")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return ReadableStore(tmp_path / "mlruns")


def run_script(cli: Cli, python: str, code: str, *args: str) -> dict[str, str]:
    Path("project").mkdir()
    Path("project", "train.py").write_text(code)
    result: dict[str, str] = json.loads(
        cli("run", "project", "-e", "train.py", "--python", python, "--json", *args).stdout
    )
    return result


def test_a_client_of_any_language_logs_to_its_run_and_to_no_other(
    runs: ReadableStore, cli: Cli, environment: TestEnvironment
) -> None:
    other = runs.start(name="other")
    code = POST + (
        f"point = dict(key='m', value=2, timestamp=1)\n"
        "codes = [post('runs/log-metric', run_id=RUN, **point),\n"
        "         post('runs/log-metric', token='no', run_id=RUN, **point),\n"
        f"         post('runs/log-metric', run_id={other!r}, **point), post('runs/delete', run_id={other!r})]\n"
        "open('codes', 'w').write(str(codes))\n"
        "assert not {'MLFLOW_TRACKING_USERNAME', 'MLFLOW_TRACKING_PASSWORD'} & set(os.environ)\n"
        "import repro\n"
        "assert repro.get_tracking_uri().startswith('file:')\n"
        "repro.log_metric('ours', 1)\n"
    )
    result = run_script(cli, environment.python, code, "--no-snapshot")
    assert Path("project", "codes").read_text() == "[200, 401, 403, 403]"
    assert runs.read_metrics(result["run_id"]) == {"m": 2.0, "ours": 1.0}
    assert result["status"] == "FINISHED"
    assert runs.read_metrics(other) == {}


def test_the_endpoint_ends_with_the_run(runs: ReadableStore, cli: Cli, environment: TestEnvironment) -> None:
    run_script(cli, environment.python, POST + "open('uri', 'w').write(URI)", "--no-snapshot")
    host, port = Path("project", "uri").read_text().removeprefix("http://").split(":")

    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_a_run_within_a_run_has_an_endpoint_of_its_own(
    runs: ReadableStore, cli: Cli, environment: TestEnvironment
) -> None:
    code = POST + (
        "import subprocess, sys\n"
        f"inner = [{sys.executable!r}, '-m', 'repro', 'run', '.', '-e', 'inner.py', '--no-snapshot', '--json']\n"
        "environ = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'MLFLOW_RUN_ID')}\n"
        "found = json.loads(subprocess.run(inner, capture_output=True, check=True, env=environ).stdout)\n"
        "open('inner', 'w').write(found['run_id'])\n"
        "post('runs/log-metric', run_id=RUN, key='outer', value=1, timestamp=1)\n"
    )
    Path("project").mkdir()
    Path("project", "inner.py").write_text(
        POST + "assert post('runs/log-metric', run_id=RUN, key='inner', value=1, timestamp=1) == 200\n"
    )
    Path("project", "train.py").write_text(code)
    args = ("run", "project", "-e", "train.py", "--python", environment.python, "--json", "--no-snapshot")
    outer = json.loads(cli(*args).stdout)["run_id"]
    assert runs.read_metrics(outer) == {"outer": 1.0}
    assert runs.read_metrics(Path("project", "inner").read_text()) == {"inner": 1.0}


def test_no_proxy_keeps_what_the_user_has() -> None:
    named = settings.name_endpoint({"NO_PROXY": "a,b"}, uri="http://127.0.0.1:1", token="t", store_uri="file:///r")
    assert named["NO_PROXY"] == "a,b,127.0.0.1"
    assert named["no_proxy"] == "127.0.0.1"
    assert settings.find_tracking_uri({**named, "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}) == "file:///r"
    assert settings.find_tracking_uri({**named, "MLFLOW_TRACKING_URI": "other"}) == "other"


@pytest.mark.mlflow
@pytest.mark.index
@pytest.mark.xdist_group("mlflow")
@pytest.mark.parametrize("args", [(), ("-P", "first=repro")])
def test_a_script_with_mlflow_lands_in_the_run_with_its_model(
    args: tuple[str, ...], runs: ReadableStore, cli: Cli, mlflow: TestEnvironment
) -> None:
    code = (
        "import mlflow, numpy, repro, sys\n"
        "if sys.argv[1:]: repro.log_param('first', 'repro')\n"
        "from sklearn.linear_model import LinearRegression\n"
        "mlflow.log_param('alpha', 0.5)\n"
        "mlflow.log_metric('rmse', 0.7, step=3)\n"
        "mlflow.log_text('hello', 'notes/a.txt')\n"
        "model = LinearRegression().fit(numpy.array([[1.0], [2.0]]), numpy.array([2.0, 4.0]))\n"
        "mlflow.sklearn.log_model(model, name='model')\n"
        "repro.log_metric('ours', 1)\n"
    )
    result = run_script(cli, mlflow.python, code, "--no-observe", *args)
    run_id = result["run_id"]
    assert runs.read_params(run_id) == {"alpha": "0.5", **({"first": "repro"} if args else {})}
    assert len(runs.list_runs()) == 1
    assert runs.read_metrics(run_id) == {"ours": 1.0, "rmse": 0.7}
    assert result["status"] == "FINISHED"
    assert {"notes/a.txt", "requirements-lock.txt"} <= set(runs.list_files(run_id))
    assert [path.name for path in runs.root.rglob("MLmodel")] == ["MLmodel"]
