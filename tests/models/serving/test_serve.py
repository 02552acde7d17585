"""`repro serve` as a user has it: real models, in a real environment."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import TEST_HOME, Cli, TestEnvironment, make_once

JSON = {"Content-Type": "application/json"}


@dataclass
class Models:
    """The models of make_models.py, and what they answer in their own environment."""

    root: Path
    python: str
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def models(science: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Models:
    root = tmp_path_factory.mktemp("models")
    subprocess.run([science.python, str(Path(__file__).with_name("make_models.py")), str(root)], check=True)
    return Models(root, science.python, json.loads((root / "expected.json").read_text()))


class Server:
    """A served model."""

    def __init__(self, *args: str, cache: Path) -> None:
        self.said = cache / "stderr.txt"
        with self.said.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "repro", "serve", *args, "-p", "0"],
                env={**os.environ, "MLFLOW_SNAPSHOT_CACHE": str(cache)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("Starting serving endpoint: http://127.0.0.1:"):
            pytest.fail(f"{line}{self.said.read_text()}")
        self.port = int(line.rsplit(":", 1)[1])

    def ask(self, path: str, content: object = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = content if isinstance(content, str | None) else json.dumps(content)
        connection.request("GET" if content is None else "POST", path, body, {**JSON, **headers})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = answer.headers["content-type"] == "application/json" and text.strip()
        return answer.status, dict(answer.headers.items()), json.loads(text) if is_json else text

    def score(self, content: object, **headers: str) -> tuple[int, Any]:
        status, _, answer = self.ask("/invocations", content, **headers)
        return status, answer["predictions"] if status == 200 else answer

    def do(self, deed: str, rows: int = 1) -> tuple[int, Any]:
        return self.score({"dataframe_split": {"columns": ["deed"], "data": [[deed]] * rows}})

    def end(self) -> str:
        self.process.terminate()
        stdout, _ = self.process.communicate(timeout=30)
        stderr = self.said.read_text()
        assert (self.process.returncode, stdout) == (0, ""), stderr
        assert "Traceback" not in stderr
        return stderr


@pytest.fixture(scope="module")
def served(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The odd model, by two workers."""
    model = str(models.root / "odd")
    server = Server(
        model, "--python", models.python, "--workers", "2", "--timeout", "3", cache=tmp_path_factory.mktemp("cache")
    )
    yield server
    server.end()


def test_a_forest_answers_as_in_its_own_environment(models: Models, cache: Path) -> None:
    server = Server(str(models.root / "forest"), "--python", models.python, cache=cache)
    rows, expected = models.expected["rows"], models.expected["forest"]
    records = [{"c": c, "b": b, "a": a} for a, b, c in rows]
    text = "c,a,b\n" + "".join(f"{c!r},{a!r},{b!r}\n" for a, b, c in rows)
    assert server.score({"dataframe_split": {"columns": ["a", "b", "c"], "data": rows}}) == (200, expected)
    assert server.score({"dataframe_records": records}) == (200, expected)
    assert server.score(text, **{"Content-Type": "text/csv"}) == (200, expected)
    answers: list[object] = [None] * len(rows)

    def ask(number: int) -> None:
        answers[number] = server.score({"dataframe_records": [records[number]]})[1][0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected
    api = server.ask("/openapi.json")[2]
    example = api["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert server.score(example) == (200, expected[:2])
    status, _, body = server.ask("/predict", {"a": 0.1, "b": 0.2})
    assert (status, body["message"]) == (400, "Model is missing inputs ['c'].")
    server.end()


def test_numbers_alone_go_to_a_model_that_knows_no_names_as_an_array(models: Models, cache: Path) -> None:
    server = Server(str(models.root / "linear"), "--python", models.python, "--no-batching", "-v", cache=cache)
    rows, expected = models.expected["rows"], models.expected["linear"]
    assert server.score({"instances": rows}) == (200, expected)
    assert server.score({"dataframe_split": {"columns": ["x", "y", "z"], "data": rows}}) == (200, expected)
    status, body = server.score({"instances": [[1.0]]})
    assert status == 400
    assert "ValueError: X has 1 features, but LinearRegression is expecting 3" in body["message"]
    assert "POST '/invocations' 200" in server.end()


@pytest.mark.parametrize(
    ("deed", "answer"),
    [
        ("print", ["print", "print"]),
        ("series", [{"rate": 1.5}, {"rate": 1.5}]),
        ("frame", [{"when": "2026-01-02T00:00:00", "n": n, "t": "x"} for n in (0, 1)]),
    ],
)
def test_what_a_model_answers_is_said_as_mlflow_says_it(served: Server, deed: str, answer: object) -> None:
    assert served.do(deed, rows=2) == (200, answer)
    assert deed != "print" or "a model may say things" in served.said.read_text()


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("raise", "KeyError: 'what it raises'"),
        ("exit", "SystemExit: 3"),
        ("nothing", "TypeError: the model has answered with a `object`, which JSON cannot say"),
    ],
)
def test_what_a_model_raises_is_its_answer(served: Server, deed: str, message: str) -> None:
    status, body = served.do(deed)
    assert (status, body["error_code"]) == (400, "BAD_REQUEST")
    assert body["message"].endswith(message)


def test_parameters_reach_the_model_and_other_inputs_too(served: Server) -> None:
    body = {"dataframe_split": {"columns": ["deed"], "data": [["params"]]}, "params": {"k": 5, "unknown": 1}}
    assert served.score(body) == (200, [{"k": 5}])
    assert served.ask("/invocations", {"messages": ["hello"]})[2] == {"type": "dict", "shape": []}


def test_a_worker_that_dies_is_replaced_and_its_request_is_told(served: Server) -> None:
    for _ in range(3):
        status, headers, body = served.ask(
            "/invocations", {"dataframe_split": {"columns": ["deed"], "data": [["die"]]}}
        )
        assert (status, headers["retry-after"], body["error_code"]) == (503, "1", "TEMPORARILY_UNAVAILABLE")
    assert served.do("fine") == (200, ["fine"])
    assert "has ended with 9: another is started" in served.said.read_text()
    assert b"repro_workers_lost_total 0" not in served.ask("/metrics")[2]


def test_a_call_without_an_end_is_given_up_and_its_worker_replaced(served: Server) -> None:
    assert served.do("sleep") == (504, b"Request processing time exceeded limit")
    assert served.do("fine") == (200, ["fine"])


def test_the_server_says_in_what_it_works(served: Server) -> None:
    _, headers, facts = served.ask("/version?verbose=1")
    assert (headers["x-repro-env"], facts["restored"], facts["workers"]) == ("not-restored", False, 2)


def test_a_restored_model_needs_nothing_in_its_environment(
    environment: TestEnvironment, cli: Cli, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    (model / "code").mkdir(parents=True)
    code = "import alpha\nclass M:\n  def predict(self, data):\n    return [alpha.VERSION] * len(data['x'])\n"
    (model / "code" / "held.py").write_text(f"{code}def _load_pyfunc(path): return M()\n")
    (model / "MLmodel").write_text('{"flavors": {"python_function": {"loader_module": "held", "code": "code"}}}')
    cli("snapshot", "-o", str(model / "requirements-lock.txt"), "--python", environment.python)
    shutil.rmtree(environment.path)
    server = Server(str(model), "--restore", cache=cli.cache)
    _, headers, facts = server.ask("/version?verbose=1")
    assert facts["environment_key"].startswith(headers["x-repro-env"])
    assert facts["lock_digest"] in (model / "requirements-lock.txt").read_text()
    assert server.score({"dataframe_split": {"columns": ["x"], "data": [[1.5], [2.5]]}}) == (200, ["1.0", "1.0"])
    server.end()


def test_what_cannot_be_served_is_said_in_a_sentence(models: Models, cli: Cli, tmp_path: Path) -> None:
    broken = cli("serve", str(models.root / "broken"), "--python", models.python, "-p", "0", code=5)
    assert "cannot be loaded in the environment of" in broken.stderr
    assert "UnpicklingError" in broken.stderr
    assert "is no model" in cli("serve", str(tmp_path), code=5).stderr
    assert "needs a token" in cli("serve", str(models.root / "odd"), "--host", "0.0.0.0", code=2).stderr
    assert "is no size" in cli("serve", str(models.root / "odd"), "--max-body", "much", code=2).stderr


def test_a_script_serves_in_the_background(models: Models, cache: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import repro, sys, urllib.request\n"
        "with repro.serve(sys.argv[1], python=sys.argv[2], port=0, daemonized=True) as server:\n"
        "    print(urllib.request.urlopen(server.url + '/ping').status)\n"
    )
    command = [sys.executable, str(script), str(models.root / "linear"), models.python]
    environ = {**os.environ, "MLFLOW_SNAPSHOT_CACHE": str(cache)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
    assert "Starting serving endpoint: http://127.0.0.1:" in done.stderr


def test_a_server_that_cannot_listen_or_is_stopped_before_it_runs_leaves_no_worker(models: Models, cache: Path) -> None:
    script = """
import pathlib, socket, sys
import repro
from repro.errors import UsageError
from repro.models.serving.server import ModelServer

def count():
    return sum(len(each.read_text().split()) for each in pathlib.Path("/proc/self/task").glob("*/children"))

run = ModelServer.run
def stop_and_run(self):
    assert count() == 1
    self.stop()
    run(self)
    print(count())

with socket.create_server(("127.0.0.1", 0)) as taken:
    try:
        repro.serve(sys.argv[1], python=sys.argv[2], port=taken.getsockname()[1])
    except UsageError as error:
        print("cannot be listened on" in str(error), count())
ModelServer.run = stop_and_run
repro.serve(sys.argv[1], python=sys.argv[2], port=0)
"""
    command = [sys.executable, "-W", "ignore", "-c", script, str(models.root / "linear"), models.python]
    environ = {**os.environ, "MLFLOW_SNAPSHOT_CACHE": str(cache)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True 0\n0\n"), done.stderr


def test_workers_end_with_a_server_that_is_killed(models: Models, cache: Path) -> None:
    server = Server(str(models.root / "linear"), "--python", models.python, cache=cache)
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert children
    server.process.send_signal(signal.SIGKILL)
    server.process.communicate()
    for child in children:
        while Path(f"/proc/{child}").exists() and b"State:\tZ" not in Path(f"/proc/{child}/status").read_bytes():
            pass


@pytest.mark.skipif("REPRO_TEST_ALL" not in os.environ, reason="starts a server of MLflow; scripts/test-all")
@pytest.mark.mlflow
def test_mlflow_answers_the_same(models: Models, mlflow: TestEnvironment, cache: Path, tmp_path: Path) -> None:
    import socket
    import time

    ours = Server(str(models.root / "forest"), "--python", mlflow.python, cache=cache)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    bin_dir = Path(mlflow.python).parent
    process = subprocess.Popen(
        [str(bin_dir / "mlflow"), "models", "serve", "-m", str(models.root / "forest"), "--env-manager", "local",
         "-p", str(port)],
        env={**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "HOME": str(tmp_path)}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    theirs = object.__new__(Server)
    theirs.port = port
    try:
        for _ in range(600):
            try:
                theirs.ask("/ping")
                break
            except OSError:
                time.sleep(0.1)
        rows = models.expected["rows"]
        split = {"columns": ["a", "b", "c"], "data": rows}
        bodies: list[tuple[object, str]] = [
            ({"dataframe_split": split}, "application/json"),
            ({"dataframe_records": [{"b": 1, "a": 0.5, "c": 2, "d": "x"}]}, "application/json; charset=utf-8"),
            ({"inputs": {"a": [0.1], "b": [0.2], "c": [0.3]}}, "application/json"),
            ({"instances": [{"a": 0.1, "b": 0.2, "c": 0.3}]}, "application/json"),
            ("b,a,c\n0.1,0.2,0.3\n", "text/csv"),
            ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}, "application/json"),
            ([], "application/json"),
            ("{", "application/json"),
            ({"inputs": [[1, 2, 3]], "instances": [[1, 2, 3]]}, "application/json"),
            ("x", "text/html"),
            ({"dataframe_split": split}, "application/json; format=pandas-split"),
            ({"dataframe_split": split}, "application/json; charset=latin-1"),
        ]
        for body, kind in bodies:
            found, wanted = (each.score(body, **{"Content-Type": kind}) for each in (ours, theirs))
            assert found[0] == wanted[0], (body, kind, found, wanted)
            if found[0] == 200:
                assert found[1] == wanted[1], (body, kind)
            elif found[0] == 400:
                assert "error_code" in wanted[1]
        for path in ("/ping", "/health"):
            assert ours.ask(path)[0::2] == theirs.ask(path)[0::2]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ours.end()


@pytest.mark.skipif("REPRO_TEST_ALL" not in os.environ, reason="takes minutes; scripts/test-all")
@pytest.mark.index
def test_schemathesis_finds_nothing(models: Models, cache: Path) -> None:
    tool = make_once("schemathesis", "schemathesis>=4")
    server = Server(str(models.root / "adder"), "--python", models.python, cache=cache)
    done = subprocess.run(
        [str(Path(tool.python).with_name("schemathesis")), "run", f"http://127.0.0.1:{server.port}/openapi.json",
         "--max-examples", "50", "--seed", "1", "--suppress-health-check", "all"],
        cwd=TEST_HOME, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    server.end()


def test_a_daemon_goes_on_by_itself_and_says_where(models: Models, cli: Cli) -> None:
    arguments = ("serve", str(models.root / "linear"), "--python", models.python, "-p", "0", "--daemon")
    said = json.loads(cli(*arguments, "--json").stdout)
    try:
        port = int(said["url"].rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/ping")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        os.kill(said["pid"], signal.SIGTERM)
        while Path(f"/proc/{said['pid']}").exists():
            pass
    log = Path(said["log"])
    assert "the server ends" in log.read_text()
    log.unlink()
    refused = cli("serve", str(models.root / "absent"), "--daemon", code=5)
    assert "is no model" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.skipif("REPRO_TEST_ALL" not in os.environ, reason="eleven models of MLflow; scripts/test-all")
@pytest.mark.mlflow
def test_hints_and_nested_columns_are_answered_as_mlflow_does(
    mlflow: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("make_hinted.py")
    subprocess.run([mlflow.python, "-W", "ignore", str(script), str(tmp_path)], check=True)
    for name, judged in json.loads((tmp_path / "judged.json").read_text()).items():
        server = Server(str(tmp_path / name), "--python", mlflow.python, cache=cache)
        for body, status, answer in judged:
            found_status, _, found = server.ask("/invocations", body)
            assert found_status == status, (name, body, found)
            assert status != 200 or found == answer, (name, body)
        server.end()
