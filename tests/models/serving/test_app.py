"""The HTTP side of a served model, over real sockets; the "model" of scoring_server.py adds up rows."""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).with_name("scoring_server.py")
JSON = {"Content-Type": "application/json"}
COLUMNS = {"inputs": json.dumps([{"name": "a", "type": "double"}, {"name": "b", "type": "double"}])}


def format_request(body: bytes) -> bytes:
    return b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Served:
    """A server in a process of its own."""

    def __init__(self, **options: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def score(self, content: object, path: str = "/invocations", **headers: str) -> tuple[int, object]:
        body = content if isinstance(content, bytes | str) else json.dumps(content)
        status, sent, text = self.ask("POST", path, body, {**JSON, **headers})
        return status, json.loads(text) if sent["content-type"] == "application/json" else text.decode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def close(self) -> str:
        self.process.terminate()
        stdout, stderr = self.process.communicate(timeout=20)
        assert (self.process.returncode, stderr) == (0, "")
        return stdout


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("path", "status", "kind", "body"),
    [
        ("/ping", 200, "application/json", b"\n"),
        ("/health", 200, "application/json", b"\n"),
        ("/version", 200, "application/json", b"0.1.0"),
        ("/nowhere", 404, "application/json", b'{"detail":"Not Found"}'),
        ("/%2e%2e/ping", 404, "application/json", b'{"detail":"Not Found"}'),
        ("/invocations", 405, "application/json", b'{"detail":"Method Not Allowed"}'),
    ],
)
def test_the_paths_of_mlflow_answer_as_there(served: Served, path: str, status: int, kind: str, body: bytes) -> None:
    found, headers, text = served.ask("GET", path)
    assert (found, headers["content-type"], text) == (status, kind, body)
    assert headers["x-repro-env"] == "sha256:abc"


SUMS = [3, 7]


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/invocations", "application/json", {"instances": [[1, 2], [3, 4]]}),
        ("/invocations/", "application/json; charset=utf-8", {"inputs": [[1, 2], [3, 4]]}),
        ("/invocation", "application/json", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}),
        ("/invocation/", "application/json", {"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}),
        ("/invocations", "text/csv", "a,b\n1,2\n3,4\n"),
        ("/predict/", "application/json", {"a": [1, 3], "b": [2, 4]}),
        ("/predict", "application/json", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}),
    ],
)
def test_every_body_of_the_protocol_is_answered(served: Served, path: str, kind: str, body: object) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    status, headers, answer = served.ask("POST", path, text, {"Content-Type": kind})
    assert (status, headers["content-type"], json.loads(answer)) == (200, "application/json", {"predictions": SUMS})


def test_other_answers_are_frames_of_records_bodies_for_language_models_as_they_are_and_parquet_is_for_the_model(
    served: Served,
) -> None:
    texts = {"dataframe_records": [{"a": "x", "b": 1}, {"a": "y", "b": 2}]}
    assert served.score(texts) == (200, {"predictions": [{"sum": "x1"}, {"sum": "y2"}]})
    assert served.score({"messages": ["hello"]}) == (200, {"got": {"messages": "['hello']"}})
    status, _, answer = served.ask("POST", "/invocations", b"PAR1", {"Content-Type": "application/vnd.apache.parquet"})
    assert (status, json.loads(answer)) == (200, {"predictions": ["4 bytes of Parquet"]})
    assert served.score('{"instances": [[NaN, 1]]}') == (200, {"predictions": [None]})


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ("{", 400, "Ensure that input is a valid JSON formatted string."),
        (b"\xff\xfe", 400, "Ensure that input is a valid JSON formatted string."),
        ("[" * 90_000, 400, "it is nested too deeply"),
        ("", 400, "Ensure that input is a valid JSON formatted string."),
        ([[1, 2]], 400, "exactly one of the input fields"),
        ({"instances": [[1]], "inputs": [[1]]}, 400, "exactly one of the input fields"),
        ('{"\\ud800": 1}', 400, "exactly one of the input fields"),
        ({"instances": [[-1, 2]]}, 400, "ValueError: minus one"),
        ({"instances": [[1], [1, 2]]}, 400, "lists of different lengths"),
        ({"instances": [[-3, 2]]}, 500, "the model's answer cannot be said in JSON"),
    ],
)
def test_what_cannot_be_answered_is_said_in_mlflows_bodies(
    served: Served, content: object, status: int, message: str
) -> None:
    found, body = served.score(content)
    assert isinstance(body, dict)
    assert (found, set(body)) == (status, {"error_code", "message"})
    assert message in body["message"]


def test_other_content_types_are_refused_in_words(served: Served) -> None:
    status, headers, text = served.ask("POST", "/invocations", "x", {"Content-Type": "text/html"})
    assert (status, headers["content-type"]) == (415, "text/plain; charset=utf-8")
    assert text.startswith(b"This predictor only supports the following content types")


def test_a_request_that_takes_too_long_is_told_so(served: Served) -> None:
    assert served.score({"instances": [[-2, 1]]}) == (504, "Request processing time exceeded limit")
    assert served.score({"instances": [[1, 2]]}) == (200, {"predictions": [3]})


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_refused_and_the_connection_closed(served: Served, is_chunked: bool) -> None:
    head = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 300000"
    with served.connect() as client:
        client.sendall(f"POST /invocations HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        part = b"x" * 100_000
        for _ in range(3):
            client.sendall(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
        if is_chunked:
            client.sendall(b"0\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(65536), b""))
    assert text.startswith(b"HTTP/1.1 413 ")
    assert b"the body is larger than 100000 bytes (`--max-body`)" in text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nshort", b"408"),
        (b"GET /ping HTT", b"408"),
        (b"", b"408"),
        (b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000, b"431"),
        (b"no http at all\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", b"400"),
    ],
)
def test_a_request_that_never_becomes_whole_is_refused(served: Served, sent: bytes, status: bytes) -> None:
    with served.connect() as client:
        client.sendall(sent)
        text = b"".join(iter(lambda: client.recv(65536), b""))
    assert text.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.org"}, 403),
        ({"Host": "localhost:1", "Origin": "http://evil.example.org"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "[::1]:5000"}, 200),
    ],
)
def test_foreign_hosts_and_pages_of_other_sites_are_refused(
    served: Served, headers: dict[str, str], status: int
) -> None:
    assert served.ask("GET", "/ping", headers=headers)[0] == status
    assert served.ask("POST", "/invocations", '{"inputs": [[1]]}', {**JSON, **headers})[0] == status


def test_the_page_fetches_nothing_from_elsewhere_and_the_api_is_described(served: Served) -> None:
    status, headers, page = served.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.findall(rb"(?:https?:)?//[a-z]", page)
    assert "connect-src 'self'" in headers["content-security-policy"]
    old, new = (json.loads(served.ask("GET", path)[2]) for path in ("/swagger.json", "/openapi.json"))
    assert (old["swagger"], old["info"], list(old["paths"])) == (
        "2.0", {"title": "MLflow Model", "version": "1.0.0"}, ["/predict/"],
    )  # fmt: skip
    assert (new["openapi"], "/invocations" in new["paths"]) == ("3.1.0", True)
    facts = json.loads(served.ask("GET", "/version?verbose=1")[2])
    assert facts["lock_digest"] == "sha256:abc"


def test_metrics_count_what_was_answered(served: Served) -> None:
    served.score({"inputs": [[1]]})
    text = served.ask("GET", "/metrics")[2].decode()
    answered = re.search(r'repro_requests_total\{path="/invocations",status="200"\} (\d+)', text)
    timed = re.search(r"repro_invocation_seconds_count (\d+)", text)
    assert answered is not None
    assert timed is not None
    assert int(timed[1]) >= int(answered[1]) > 0
    assert re.fullmatch(r"(?:(?:# (?:HELP|TYPE) .+|\w+(?:\{.+\})? [\d.]+)\n)+", text)


def ask_many(served: Served, requests: list[list[list[float]]]) -> list[object]:
    """Ask from 16 clients at once, each for every 16th request."""
    answers: list[object] = [None] * len(requests)

    def ask(start: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        for number in range(start, len(requests), 16):
            connection.request("POST", "/invocations", json.dumps({"inputs": requests[number]}), JSON)
            answers[number] = json.loads(connection.getresponse().read())
        connection.close()

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("style", ["sum", "mean"])
def test_gathered_requests_have_the_answers_that_they_have_alone(style: str) -> None:
    choose = random.Random(1)
    requests = [[[choose.random() for _ in range(3)] for _ in range(choose.randint(1, 3))] for _ in range(200)]
    together, alone = Served(style=style), Served(style=style, gather=False)
    assert ask_many(together, requests) == ask_many(alone, requests)
    shared = re.search(r"repro_gathered_requests_total (\d+)", together.ask("GET", "/metrics")[2].decode())
    assert shared is not None
    assert (int(shared[1]) > 0) == (style == "sum")
    together.close()
    alone.close()


def test_a_stopped_server_answers_what_it_has_and_takes_no_more() -> None:
    served = Served(timeout_s=20)
    with served.connect() as client:
        body = b'{"inputs": [[-2, 5]]}'
        client.sendall(format_request(body))
        while b"repro_rows_total 1" not in served.ask("GET", "/metrics")[2]:
            pass
        served.process.send_signal(signal.SIGTERM)
        text = b"".join(iter(lambda: client.recv(65536), b""))
    assert text.startswith(b"HTTP/1.1 200 ")
    assert text.endswith(b'{"predictions":[3]}')
    assert served.close() == "ended\n"


def test_a_client_that_goes_away_harms_nobody(served: Served) -> None:
    for _ in range(20):
        client = served.connect()
        client.sendall(format_request(b'{"inputs": [[1]]}'))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert served.score({"inputs": [[1, 2]]}) == (200, {"predictions": [3]})


def test_a_server_with_a_token_answers_those_who_show_it_and_a_signature_names_what_is_missing() -> None:
    served = Served(token="secret", signature=COLUMNS)
    good = {"dataframe_split": {"columns": ["b", "a"], "data": [[2, 1]]}}
    assert served.score(good, Authorization="Bearer secret") == (200, {"predictions": [3]})
    for wrong in ("", "Bearer wrong", "Bearer secret2", "Basic secret", "Bearer \xe9"):
        status, body = served.score(good, Authorization=wrong)
        assert (status, isinstance(body, dict) and body["error_code"]) == (401, "UNAUTHENTICATED")
    assert [served.ask("GET", path)[0] for path in ("/ping", "/", "/metrics", "/openapi.json", "/version")] == [
        200, 200, 401, 401, 401,
    ]  # fmt: skip
    status, body = served.score({"inputs": {"a": [1]}}, Authorization="Bearer secret")
    assert (status, body) == (
        400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Model is missing inputs ['b']."},
    )  # fmt: skip
    served.close()


def test_a_queue_that_is_full_refuses_and_says_when_to_ask_again() -> None:
    served = Served(most_waiting=1, timeout_s=20)
    body = b'{"inputs": [[-2, 5]]}'
    clients = [served.connect() for _ in range(4)]
    for client in clients:
        client.sendall(format_request(body))
    heads = sorted(client.recv(65536) for client in clients)
    for client in clients:
        client.close()
    assert heads[0].startswith(b"HTTP/1.1 200 ")
    assert heads[-1].startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in heads[-1]
    served.close()
