"""Who is let in, and what a client of one run may change."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from api_client import API, PROXY, Api

from repro.tracking.entities import NewRun
from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background

TOKEN = "s3cret-täg"
SEARCH = f"{API}/experiments/search"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}".encode().decode("latin-1")}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def closed_api(store: FileStore) -> Iterator[Api]:
    """A server that asks for a token."""
    endpoint = serve_in_background(store, token=TOKEN, allowed_hosts=("Runs.example.org",))
    yield Api(endpoint.uri)
    endpoint.close()


@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.example.org", "", "localhost.example.org:5000", "[::1"]
)
def test_a_foreign_host_is_refused(api: Api, host: str) -> None:
    answer = api.ask("GET", SEARCH, headers={"Host": host})
    assert (answer.status, answer.error_code) == (403, "PERMISSION_DENIED")


def test_a_request_without_a_host_or_with_two_is_refused(api: Api) -> None:
    for hosts in (b"", b"Host: localhost\r\nHost: localhost\r\n"):
        assert b" 403 " in api.send_raw(b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.0.0.1:80", "[::1]:5000", "192.0.2.7"]
)
def test_an_own_name_or_an_address_is_let_in(api: Api, host: str) -> None:
    assert api.ask("GET", "/health", headers={"Host": host}).status == 200


def test_a_name_that_was_allowed_is_let_in(closed_api: Api) -> None:
    assert closed_api.ask("GET", "/health", headers={"Host": "runs.EXAMPLE.org"}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example.org", "null", "http://localhost", "http://localhost:1"])
def test_a_page_of_another_site_is_refused(api: Api, origin: str) -> None:
    headers = {"Host": f"localhost:{api.port}", "Origin": origin}
    answer = api.ask("POST", f"{API}/experiments/create", body={"name": "x"}, headers=headers)
    assert (answer.status, answer.error_code) == (403, "PERMISSION_DENIED")


def test_a_page_of_the_server_itself_is_let_in(api: Api) -> None:
    headers = {"Host": f"localhost:{api.port}", "Origin": f"http://localhost:{api.port}"}
    assert api.ask("POST", f"{API}/experiments/create", body={"name": "x"}, headers=headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer(TOKEN + "x"),
        bearer(""),
        {"Authorization": TOKEN.encode().decode("latin-1")},
        {"Authorization": "Basic ???"},
        basic("user", "wrong"),
        basic(TOKEN, ""),
    ],
)
def test_without_the_token_nothing_is_answered(closed_api: Api, headers: dict[str, str]) -> None:
    for method, path in (
        ("GET", SEARCH),
        ("POST", f"{API}/runs/create"),
        ("GET", f"{PROXY}/0/x/artifacts/y"),
        ("GET", "/"),
    ):
        answer = closed_api.ask(method, path, headers=headers)
        assert (answer.status, answer.error_code) == (401, "UNAUTHENTICATED")
    assert "Bearer" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("headers", [bearer(TOKEN), basic("anybody", TOKEN), basic("", TOKEN)])
def test_the_token_opens_as_bearer_and_as_password(closed_api: Api, headers: dict[str, str]) -> None:
    assert closed_api.ask("GET", SEARCH, headers=headers).status == 200


def test_health_needs_no_token(closed_api: Api) -> None:
    assert closed_api.ask("GET", "/health").status == 200


def test_a_refused_upload_is_answered_though_its_body_is_not_read(closed_api: Api, store: FileStore) -> None:
    answer = closed_api.ask("PUT", f"{PROXY}/0/x/artifacts/y", body=bytes(3_000_000))
    assert (answer.status, answer.error_code) == (401, "UNAUTHENTICATED")


class OneRun:
    """A server whose clients may change one run."""

    def __init__(self, store: FileStore) -> None:
        self.own = store.create_run(NewRun(experiment_id="0", user_id="me", start_time_ms=1)).run_id
        self.other = store.create_run(NewRun(experiment_id="0", user_id="me", start_time_ms=1)).run_id
        self.endpoint = serve_in_background(store, token=None, allowed_run=self.own)
        self.api = Api(self.endpoint.uri)


@pytest.fixture
def one_run(store: FileStore) -> Iterator[OneRun]:
    """Such a server."""
    made = OneRun(store)
    yield made
    made.endpoint.close()


def test_a_client_of_one_run_changes_that_and_the_ones_it_makes(one_run: OneRun) -> None:
    api = one_run.api
    for run_id in (one_run.own, api.create_run()):
        api.post("runs/set-tag", run_id=run_id, key="a", value="b")
        api.post("runs/log-metric", run_id=run_id, key="m", value=1, timestamp=1)
        assert api.put(f"0/{run_id}/artifacts/a.txt", b"a").status == 200
        api.post("runs/update", run_id=run_id, status="FINISHED")


def test_a_client_of_one_run_changes_no_other(one_run: OneRun) -> None:
    api, other = one_run.api, one_run.other
    for path, fields in (
        ("runs/set-tag", {"key": "a", "value": "b"}), ("runs/delete-tag", {"key": "mlflow.user"}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "a", "value": "b"}),
        ("runs/log-batch", {"params": [{"key": "a", "value": "b"}]}), ("runs/update", {"status": "FINISHED"}),
        ("runs/delete", {}), ("runs/restore", {}), ("runs/log-inputs", {}), ("runs/outputs", {}),
        ("runs/log-model", {"model_json": "{}"}),
    ):  # fmt: skip
        assert api.refuse(path, run_id=other, **fields) == "PERMISSION_DENIED", path
    assert api.put(f"0/{other}/artifacts/a.txt", b"a").status == 403
    assert api.ask("DELETE", f"{PROXY}/0/{other}/artifacts/a.txt").status == 403
    assert api.refuse("logged-models", experiment_id="0", name="m", source_run_id=other) == "PERMISSION_DENIED"
    assert api.get("runs/get", run_id=other)["run"]["info"]["status"] == "RUNNING"


def test_a_client_of_one_run_removes_nothing_that_others_share(one_run: OneRun) -> None:
    api = one_run.api
    experiment_id = api.post("experiments/create", name="x")["experiment_id"]
    api.post("registered-models/create", name="m")
    for path in ("experiments/delete", "experiments/restore"):
        assert api.refuse(path, experiment_id=experiment_id) == "PERMISSION_DENIED"
    assert api.refuse("experiments/update", experiment_id=experiment_id, new_name="y") == "PERMISSION_DENIED"
    assert api.ask("DELETE", f"{API}/registered-models/delete", body={"name": "m"}).status == 403
