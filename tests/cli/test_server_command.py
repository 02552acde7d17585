"""`repro server` as a user has it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from api_client import API, Api
from conftest import Cli

from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background


def start(cli: Cli, *args: str) -> tuple[subprocess.Popen[str], Api]:
    """Start a server on a free port and return it with a client."""
    process = cli.start("server", "--port", "0", *args)
    assert process.stdout is not None
    process.stdout.readline()
    line = process.stdout.readline()
    return process, Api(line.split()[2].rstrip(","))


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """End a server, which must end well, and return its stderr."""
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    return stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_serves_until_it_is_told_to_end(cli: Cli, number: signal.Signals, tmp_path: Path) -> None:
    process, api = start(cli, "--store", str(tmp_path / "runs"))
    run_id = api.create_run()
    stderr = end(process, number)
    assert "the server ends" in stderr
    assert "POST" not in stderr
    assert FileStore(tmp_path / "runs").get_info(run_id).run_id == run_id


def test_the_default_is_mlruns_here_and_requests_are_logged_if_asked_for(cli: Cli) -> None:
    process, api = start(cli, "-v")
    api.create_run()
    assert f"POST '{API}/runs/create' 200" in end(process)
    assert Path("mlruns/0").is_dir()


def test_json_says_where_it_listens(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "kept").as_uri())
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    process = cli.start("server", "--port", "0", "--json")
    assert process.stdout is not None
    lines = ""
    while not lines.endswith("}\n"):
        lines += process.stdout.readline()
    about = json.loads(lines)
    assert (about["store"], about["token_required"], about["pid"]) == (str(tmp_path / "kept"), True, process.pid)
    assert Api(about["uri"]).ask("GET", f"{API}/experiments/search").status == 401
    end(process)


def test_a_token_comes_from_a_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    process, api = start(cli, "--token-file", str(file))
    assert api.ask("GET", f"{API}/experiments/search", headers={"Authorization": "Bearer secret"}).status == 200
    assert api.ask("GET", f"{API}/experiments/search").status == 401
    assert "secret" not in end(process)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--host", "example.org"], "needs a token"),
        (["--host", "192.0.2.1", "--token", "t"], "cannot be listened on"),
        (["--port", "99999"], "is no port"),
        (["--port", "x"], "invalid int value"),
        (["--token", "a", "--token-file", "b"], "both name the token"),
        (["--token-file", "missing"], "cannot be read"),
        (["--token-file", "empty"], "is empty"),
        (["--store", "http://example.org"], "is no directory of runs"),
        (["--store", "sqlite:///x.db"], "is no directory of runs"),
        (["--store", "empty"], "is a file"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(cli: Cli, args: list[str], said: str) -> None:
    Path("empty").touch()
    done = cli("server", *args, code=2)
    assert said in done.stderr
    assert "hint:" in done.stderr


def test_a_port_that_is_taken_is_said(cli: Cli, store: FileStore) -> None:
    endpoint = serve_in_background(store, token=None)
    assert "--port 0" in cli("server", "--port", str(endpoint.port), code=2).stderr
    endpoint.close()
