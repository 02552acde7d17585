"""The socket, the threads and HTTP itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time

import pytest
from api_client import API, Api

from repro.errors import UsageError
from repro.tracking.entities import Run
from repro.tracking.file_store import FileStore
from repro.tracking.server import is_loopback, serve_in_background

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CREATE = f"POST {API}/experiments/create HTTP/1.1\r\nHost: localhost\r\n".encode()


def connect(api: Api) -> socket.socket:
    return socket.create_connection((api.host, api.port), timeout=30)


def test_an_endpoint_listens_where_it_says_and_no_longer_when_closed(store: FileStore) -> None:
    endpoint = serve_in_background(store, token=None)
    api = Api(endpoint.uri)
    assert endpoint.uri == f"http://127.0.0.1:{endpoint.port}"
    assert api.ask("GET", "/health").body == b"OK"
    endpoint.close()
    endpoint.close()
    with pytest.raises(OSError):
        connect(api)


def test_starting_imports_nothing_that_only_requests_need(store: FileStore) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from repro.tracking.file_store import FileStore
        before = set(sys.modules)
        from repro.tracking.server import serve_in_background
        endpoint = serve_in_background(FileStore(Path("x")), token="t")
        heavy = {"http.server", "http.client", "email", "ssl", "socketserver", "asyncio", "logging"}
        print(sorted(heavy & set(sys.modules) - before), endpoint.port > 0)
        endpoint.close()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


def test_a_port_that_is_taken_is_refused(store: FileStore) -> None:
    endpoint = serve_in_background(store, token=None)
    with pytest.raises(UsageError, match="cannot be listened on"):
        serve_in_background(store, token=None, port=endpoint.port)
    endpoint.close()


@pytest.mark.parametrize("port", [70_000, -1])
def test_a_number_that_is_no_port_is_refused(store: FileStore, port: int) -> None:
    with pytest.raises(UsageError, match="is no port"):
        serve_in_background(store, token=None, port=port)


def test_others_than_this_machine_are_let_in_only_with_a_token(store: FileStore) -> None:
    with pytest.raises(UsageError, match="needs a token"):
        serve_in_background(store, token=None, host="0.0.0.0")
    endpoint = serve_in_background(store, token="secret", host="0.0.0.0")
    endpoint.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("example.org", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_what_is_reached_from_this_machine_only(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_a_connection_serves_many_requests(api: Api) -> None:
    connection = http.client.HTTPConnection(api.host, api.port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b"OK"
    connection.close()


def test_requests_sent_at_once_are_answered_in_order(api: Api) -> None:
    body = b'{"name": "a"}'
    create = CREATE + b"Content-Length: %d\r\n\r\n" % len(body) + body
    received = api.send_raw(create + create + GET)
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400", b"200"]


def test_closing_does_not_wait_for_clients_that_wait(store: FileStore) -> None:
    endpoint = serve_in_background(store, token=None)
    with connect(Api(endpoint.uri)) as idle:
        idle.sendall(GET)
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        endpoint.close()
        assert idle.recv(1000) == b""
    assert time.monotonic() - started < 4


def test_a_silent_client_is_hung_up_on(store: FileStore) -> None:
    endpoint = serve_in_background(store, token=None, patience_s=0.2)
    api = Api(endpoint.uri)
    for begun in (b"", b"GET /health HT", CREATE):
        with connect(api) as silent:
            silent.sendall(begun)
            assert silent.recv(1000) == b""
    with connect(api) as silent:
        silent.sendall(CREATE + b"Content-Length: 10\r\n\r\n{")
        assert silent.recv(1000).startswith(b"HTTP/1.1 408")
    endpoint.close()


def test_a_client_that_drips_gets_no_more_time(store: FileStore) -> None:
    endpoint = serve_in_background(store, token=None, patience_s=0.5)
    ended = threading.Event()
    with connect(Api(endpoint.uri)) as slow:

        def drip() -> None:
            try:
                while not ended.wait(0.1):
                    slow.sendall(b"G")
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1000) == b""
        ended.set()
        dripping.join()
    endpoint.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 505),
        (b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"BREW /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (CREATE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}  ", 400),
        (CREATE + b"Content-Length: -1\r\n\r\n", 400),
        (CREATE + b"Content-Length: 1e3\r\n\r\n", 400),
        (CREATE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CREATE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (CREATE + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (CREATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n", 400),
        (CREATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX\r\n0\r\n\r\n", 400),
        (CREATE + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415),
        (CREATE + b"Content-Length: 20\r\n\r\n{}", 400),
        (CREATE + b"Content-Length: 17000000\r\n\r\n{}", 413),
    ],
)  # fmt: skip
def test_what_is_no_clear_request_is_refused(api: Api, request_bytes: bytes, status: int) -> None:
    received = api.send_raw(request_bytes)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), received
    assert set(json.loads(body)) == {"error_code", "message"}
    assert b"Connection: close" in head
    assert api.ask("GET", "/health").status == 200


def test_a_body_in_chunks_is_read(api: Api) -> None:
    chunked = b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"name":\r\n4;x=y\r\n"c"}\r\n0\r\nTrailer: x\r\n\r\n'
    assert api.send_raw(CREATE + chunked + GET).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_asks_first_is_told_to_go_on(api: Api) -> None:
    body = b'{"name": "expected"}'
    with connect(api) as connection:
        connection.sendall(CREATE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"[" * 100_000, b'{"name": "\xff"}', b'{"name": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes) -> None:
    answer = api.ask("POST", f"{API}/experiments/create", body=body)
    assert (answer.status, answer.error_code) == (400, "BAD_REQUEST")


def test_what_is_not_there_is_said_in_json(api: Api) -> None:
    for path in ("/nothing", f"{API}/traces/search", "/api/9.9/mlflow/runs/get", f"{API}/runs/get/more"):
        answer = api.ask("GET", path)
        assert (answer.status, answer.error_code) == (404, "ENDPOINT_NOT_FOUND")
    answer = api.ask("GET", f"{API}/runs/create")
    assert answer.status == 405
    assert "POST" in answer.json["message"]


def test_a_head_is_a_get_without_its_body(api: Api) -> None:
    answer = api.ask("HEAD", "/health")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "2", b"")


def test_a_person_who_opens_the_address_is_told_what_it_is(api: Api) -> None:
    assert b"repro server" in api.ask("GET", "/").body


class FaultyStore(FileStore):
    """A store with a fault of its own."""

    def get_run(self, run_id: str) -> Run:
        """Fail as only a mistake in the program does."""
        raise ZeroDivisionError(run_id)


def test_a_fault_of_the_server_is_logged_and_no_traceback_is_sent(store: FileStore) -> None:
    lines: list[str] = []
    endpoint = serve_in_background(FaultyStore(store.root), token=None, log=lines.append)
    api = Api(endpoint.uri)
    run_id = api.create_run()
    answer = api.ask("GET", f"{API}/runs/get?run_id={run_id}")
    endpoint.close()
    assert (answer.status, answer.error_code) == (500, "INTERNAL_ERROR")
    assert b"Traceback" not in answer.body
    assert run_id.encode() not in answer.body
    assert any("Traceback" in line for line in lines)


def test_many_clients_search_while_others_log(api: Api) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                run_id = api.create_run(run_name=f"n{number}")
                api.post("runs/log-metric", run_id=run_id, key="m", value=step, timestamp=1, step=step)
                query = {"experiment_ids": ["0"], "filter": f"attributes.run_name = 'n{number}' AND metrics.m >= 0"}
                assert len(api.post("runs/search", **query)["runs"]) == step + 1
        except BaseException as error:  # told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_many_clients_log_at_once(api: Api, store: FileStore) -> None:
    run_id = api.create_run()

    def log(number: int) -> None:
        for step in range(20):
            point = {"key": "shared", "value": number, "timestamp": step, "step": step}
            own = {"key": f"own{number}", "value": step, "timestamp": step, "step": step}
            param = {"key": f"p{number}.{step}", "value": "x"}
            api.post("runs/log-batch", run_id=run_id, metrics=[point, own], params=[param])

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    points = store.get_metric_history(run_id, "shared")
    assert sorted((point.value, point.step) for point in points) == [(n, s) for n in range(8) for s in range(20)]
    assert len(store.get_run(run_id).data.params) == 160
    for number in range(8):
        assert [point.step for point in store.get_metric_history(run_id, f"own{number}")] == list(range(20))
