"""`repro ui` as a user has it: MLflow's own UI on the current store."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TEST_HOME, Cli
from layout import make_run, write_experiment, write_run
from own_mlflow import write_program

from repro.tracking.client import Client

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands for MLflow, named by MLFLOW_BIN, and a directory of runs here."""
    path = write_program(tmp_path / "bin" / "mlflow")
    monkeypatch.setenv("MLFLOW_BIN", str(path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("mlruns").mkdir()
    return path


@pytest.fixture
def start(cli: Cli) -> Iterator[Start]:
    """What starts `repro ui --mlflow`; whatever a test leaves is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*args: str) -> subprocess.Popen[str]:
        started.append(cli.start("ui", "--mlflow", *args))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def ask(url: str, body: object = None) -> dict[str, object]:
    """Return what a server answers in JSON; no proxy is asked."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=content, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return dict(json.loads(answer.read()))


def read_document(process: subprocess.Popen[str]) -> dict[str, object]:
    """Read the JSON document that a command writes once it is ready."""
    assert process.stdout is not None
    lines = ""
    while not lines.endswith("}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        lines += line
    return dict(json.loads(lines))


def list_group(pid: int) -> list[int]:
    """Return the processes that descend from one, and it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in list_group(int(child)))]


def wait_until_gone(pids: list[int]) -> None:
    """Wait until processes have ended; one that nobody has waited for yet counts as ended."""
    deadline = time.monotonic() + 60
    while alive := [pid for pid in pids if _is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_however_we_end(start: Start, program: Path, number: signal.Signals) -> None:
    process = start("--port", "0", "--json")
    about = read_document(process)
    assert (about["store"], about["mlflow"], about["pid"]) == (
        Path("mlruns").absolute().as_uri(),
        str(program),
        process.pid,
    )
    pids = list_group(process.pid)
    assert set(ask(str(about["uri"]))["pids"]) < set(pids)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == (0 if number != signal.SIGKILL else -signal.SIGKILL), stderr
    assert "Traceback" not in stderr
    wait_until_gone(pids)


def test_mlflow_is_told_the_store_on_loopback_alone(
    start: Start, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/below")
    process = start("-v")
    assert process.stdout is not None
    assert process.stdout.readline() == f"showing {Path('mlruns').absolute().as_uri()}\n"
    address = process.stdout.readline().split()[2]
    told = ask(address)
    assert told["args"][:4:3] == ["server", "--port"]
    assert told["args"][1:3] == ["--host", "127.0.0.1"]
    assert told["args"][5:] == ["--workers", "1"]
    environ = dict(told["environ"])
    assert (
        environ["MLFLOW_BACKEND_STORE_URI"]
        == environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
        == Path("mlruns").absolute().as_uri()
    )
    assert environ["MLFLOW_ALLOW_FILE_STORE"] == "true"
    assert "MLFLOW_STATIC_PREFIX" not in environ
    process.send_signal(signal.SIGINT)
    assert "it says that it starts" in process.communicate(timeout=30)[1]


def test_a_database_is_shown_without_its_password(start: Start, program: Path) -> None:
    uri = "postgresql://me:secret@db.example.org/runs"
    process = start("--port", "0", "--json", "-v", "--store", uri)
    about = read_document(process)
    assert about["store"] == "postgresql://db.example.org/runs"
    told = ask(str(about["uri"]))
    assert told["environ"]["MLFLOW_BACKEND_STORE_URI"] == uri
    assert "MLFLOW_DEFAULT_ARTIFACT_ROOT" not in told["environ"]
    process.send_signal(signal.SIGTERM)
    assert "secret" not in process.communicate(timeout=30)[1]


def test_a_server_is_only_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org/team")
    done = cli("ui", "--mlflow")
    assert done.stdout == "the runs are shown at https://mlflow.example.org/team\n"


def test_a_server_that_ends_is_said_with_its_last_words(cli: Cli, start: Start, program: Path) -> None:
    program.write_text(f"#!{sys.executable}\nprint('the schema is too old')\nraise SystemExit(3)\n")
    done = cli("ui", "--mlflow", "--port", "0", code=5)
    assert "MLflow ended before it answered (exit code 3)\n  the schema is too old\n" in done.stderr
    write_program(program)
    process = start("--port", "0", "--json")
    told = ask(str(read_document(process)["uri"]))
    os.kill(told["pids"][0], signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert "MLflow has ended (exit code 143)" in stderr
    assert process.returncode == 5


def test_the_usual_port_is_left_to_others(start: Start, program: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 5000))
            other.listen()
        except OSError:
            pass  # somebody else has it: as well
        process = start("--json")
        assert not str(read_document(process)["uri"]).endswith(":5000")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_browser_opens_on_a_terminal_unless_it_may_not(
    cli: Cli, program: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    for options, is_opened in ((["--no-browser"], False), ([], True)):
        outer, inner = os.openpty()
        command = [sys.executable, "-m", "repro", "ui", "--mlflow", *options]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=inner, stderr=inner, timeout=60, check=True)
        os.close(inner)
        os.close(outer)
        assert (tmp_path / "opened").exists() is is_opened
    assert (tmp_path / "opened").read_text() == "https://mlflow.example.org\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "repro has no page of its own yet"),
        (["--mlflow", "--store", "nowhere"], "there is no directory of runs at"),
        (["--mlflow", "--store", "databricks://x"], "is nothing that MLflow's UI can show"),
        (["--mlflow", "--port", "99999"], "is no port"),
        (["--mlflow", "--host", "192.0.2.1"], "cannot be listened on"),
        (["--mlflow", "--workers", "0"], "is no number of processes"),
    ],
)
def test_what_cannot_be_shown_is_said_before_mlflow_starts(cli: Cli, program: Path, args: list[str], said: str) -> None:
    done = cli("ui", *args, code=2)
    assert said in done.stderr
    assert "hint:" in done.stderr


def test_a_program_that_is_not_there_is_said(cli: Cli, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_BIN", "/named/mlflow")
    assert "`/named/mlflow` cannot be started" in cli("ui", "--mlflow", code=2).stderr


@pytest.mark.skipif(
    "REPRO_TEST_ALL" not in os.environ, reason="installs an MLflow and waits for its UI; scripts/test-all"
)
@pytest.mark.mlflow
@pytest.mark.index
@pytest.mark.faults
@pytest.mark.xdist_group("mlflow")
def test_the_ui_of_an_mlflow_that_was_installed_shows_what_we_wrote(
    cli: Cli, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli.cache = TEST_HOME / "real-cache"  # for later sessions too: nearly a gigabyte, and MLflow's bytecode
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    write_experiment(tmp_path / "runs", "0", "Default")
    client = Client(str(tmp_path / "runs"))
    run_id = client.create_run("0", run_name="shown").info.run_id
    client.log_param(run_id, "alpha", 0.5)
    for step, value in enumerate((1.5, float("nan"), 0.25)):
        client.log_metric(run_id, "rate", value, step=step, timestamp=1000 + step)
    client.set_tag(run_id, "team", "red")
    client.log_text(run_id, "a note", "notes/note.txt")
    write_run(tmp_path / "runs", make_run(1, metrics={"rate": 2.0}))
    cli("mlflow", "install")
    process = start("--store", str(tmp_path / "runs"), "--port", "0", "--json")
    uri = str(read_document(process)["uri"])
    api = f"{uri}/ajax-api/2.0/mlflow"
    query = {"experiment_ids": ["0"], "filter": "params.alpha = '0.5'"}
    (run,) = ask(f"{api}/runs/search", query)["runs"]
    assert (run["info"]["run_name"], run["info"]["run_id"]) == ("shown", run_id)
    assert {each["key"]: each["value"] for each in run["data"]["tags"]}["team"] == "red"
    assert [(each["key"], each["value"]) for each in run["data"]["metrics"]] == [("rate", 0.25)]
    history = ask(f"{api}/metrics/get-history?run_id={run_id}&metric_key=rate")["metrics"]
    assert [(each["value"], each["timestamp"], each["step"]) for each in history][::2] == [
        (1.5, 1000, 0),
        (0.25, 1002, 2),
    ]
    (file,) = ask(f"{api}/artifacts/list?run_id={run_id}&path=notes")["files"]
    assert (file["path"], file["file_size"]) == ("notes/note.txt", 6)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(f"{uri}/get-artifact?run_id={run_id}&path=notes/note.txt", timeout=60).read() == b"a note"
    assert b"<title>MLflow</title>" in opener.open(uri, timeout=60).read()
    assert len(ask(f"{api}/runs/search", {"experiment_ids": ["0"]})["runs"]) == 2
    pids = list_group(process.pid)
    assert len(pids) >= 4
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    wait_until_gone(pids)
