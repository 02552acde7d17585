"""Requests to a tracking server: how they are sent, sent again, and what their failures say."""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from email.utils import formatdate

import pytest
from rest_server import Asked, Said, answering, say
from servers import CERT, Proxy

from repro.errors import (
    ServerUnavailableError,
    TrackingError,
    TrackingExistsError,
    TrackingNotFoundError,
    TrackingRefusedError,
    UsageError,
)
from repro.settings import get_request_retries, get_request_timeout_s
from repro.tracking.rest.address import find_address
from repro.tracking.rest.answers import AnswerLostError, UnexplainedError
from repro.tracking.rest.patience import LONGEST_WAIT_S, Patience, parse_retry_after
from repro.tracking.rest.transport import Transport

HASTY = Patience(retries=3, factor_s=0.01, jitter_s=0.0)


def open_transport(url: str, environ: dict[str, str] | None = None, *, timeout_s: float = 5.0) -> Transport:
    return Transport(find_address(url, environ or {}), patience=HASTY, timeout_s=timeout_s)


def fail_first(count: int, failure: Said) -> tuple[list[int], object]:
    seen: list[int] = []

    def script(asked: Asked) -> Said:
        seen.append(1)
        return failure if len(seen) <= count else say({"ok": True})

    return seen, script


def test_one_connection_is_kept_for_each_thread() -> None:
    with answering(lambda asked: say({})) as server, open_transport(server.url) as transport:
        for _ in range(5):
            transport.call("GET", "runs/get", query={"run_id": "x y"})

        def ask() -> None:
            transport.call("GET", "runs/get")
            transport.close()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert [asked.connection for asked in server.asked] == [1, 1, 1, 1, 1, 2]
    assert server.asked[0].path == "/api/2.0/mlflow/runs/get?run_id=x+y"
    assert server.asked[0].headers["user-agent"].startswith("repro/")


def test_a_connection_that_the_server_has_closed_is_opened_again_and_nothing_is_sent_twice() -> None:
    with answering(lambda asked: say({}, Connection="close")) as server, open_transport(server.url) as transport:
        for _ in range(3):
            transport.call("POST", "runs/create", payload={}, repeatable=False)
    assert len(server.asked) == 3


def test_a_forked_child_opens_a_connection_of_its_own() -> None:
    with answering(lambda asked: say({})) as server, open_transport(server.url) as transport:
        transport.call("GET", "runs/get")
        child = os.fork()
        if not child:
            try:
                transport.call("GET", "runs/get")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        transport.call("GET", "runs/get")
    assert [asked.connection for asked in server.asked] == [1, 2, 1]


@pytest.mark.parametrize(
    ("failure", "count"),
    [
        (Said(drop=True), 1),
        (say({"a": "b" * 100}, 200, X="y"), 0),
        (Said(status=500), 3),
        (Said(status=503, headers={"Retry-After": "0"}), 3),
        (Said(status=429, headers={"Retry-After": "0"}), 2),
        (Said(body=b'{"a": "0123456789"}', cut=True), 2),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_may_be_repeated_is_asked_again(failure: Said, count: int) -> None:
    seen, script = fail_first(count, failure)
    with answering(script) as server, open_transport(server.url) as transport:  # type: ignore[arg-type]
        assert transport.call("GET", "runs/get")["ok"] is True
    assert len(seen) == count + 1


@pytest.mark.parametrize(
    "failure", [Said(drop=True), Said(status=500), Said(status=502), Said(status=503), Said(body=b"{}  ", cut=True)]
)
def test_what_may_not_be_repeated_says_that_it_may_have_happened(failure: Said) -> None:
    seen, script = fail_first(9, failure)
    with (
        answering(script) as server,  # type: ignore[arg-type]
        open_transport(server.url) as transport,
        pytest.raises(AnswerLostError),
    ):
        transport.call("POST", "runs/create", payload={}, repeatable=False)
    assert len(seen) == 1


def test_a_limit_of_our_rate_is_waited_for_also_by_what_may_not_be_repeated() -> None:
    seen, script = fail_first(1, Said(status=429, headers={"Retry-After": "1"}))
    began = time.monotonic()
    with answering(script) as server, open_transport(server.url) as transport:  # type: ignore[arg-type]
        transport.call("POST", "runs/create", payload={}, repeatable=False)
    assert time.monotonic() - began >= 1
    assert len(seen) == 2


def test_a_server_that_is_not_there_is_tried_as_often_as_the_patience_says() -> None:
    transport = open_transport("http://127.0.0.1:9")
    with pytest.raises(ServerUnavailableError) as caught:
        transport.call("POST", "runs/create", payload={}, repeatable=False)
    assert not isinstance(caught.value, AnswerLostError)
    assert "`http://127.0.0.1:9` cannot be reached (POST /api/2.0/mlflow/runs/create: " in caught.value.message


def test_a_server_that_says_nothing_is_given_up() -> None:
    ended = threading.Event()

    def script(asked: Asked) -> Said:
        ended.wait(5)
        return Said(drop=True)

    with answering(script) as server:
        transport = open_transport(server.url, timeout_s=0.2)
        with pytest.raises(ServerUnavailableError, match="timed out"):
            transport.call("GET", "runs/get")
        ended.set()
        transport.close()


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            say({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=x not found"}, 404),
            TrackingNotFoundError,
            "answers GET /api/2.0/mlflow/runs/get with HTTP 404 RESOURCE_DOES_NOT_EXIST: Run with id=x not found",
        ),
        (say({"error_code": "RESOURCE_ALREADY_EXISTS", "message": "taken"}, 400), TrackingExistsError, "taken"),
        (say({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}, 400), TrackingError, "HTTP 400"),
        (say({"error_code": "PERMISSION_DENIED", "message": "no"}, 403), TrackingRefusedError, "HTTP 403"),
        (Said(status=401, body=b"You are not authenticated."), TrackingRefusedError, "You are not authenticated."),
        (Said(status=404, body=b"<html>", headers={"Content-Type": "text/html"}), UnexplainedError, "no such endpoint"),
        (Said(status=302, headers={"Location": "https://login.example.org/"}), UnexplainedError, "leads elsewhere"),
        (Said(body=b"<html>", headers={"Content-Type": "text/html"}), ServerUnavailableError, "instead of a JSON"),
        (Said(body=b"[1]"), ServerUnavailableError, "instead of a JSON object"),
        (Said(body=b"[" * 100_000), ServerUnavailableError, "instead of a JSON object"),
        (say({"error_code": 5, "message": ["x"]}, 400), TrackingError, "HTTP 400 5"),
    ],
)
def test_an_error_says_endpoint_status_code_and_message(answer: Said, kind: type[TrackingError], text: str) -> None:
    with (
        answering(lambda asked: answer) as server,
        open_transport(server.url) as transport,
        pytest.raises(TrackingError) as caught,
    ):
        transport.call("GET", "runs/get")
    assert type(caught.value) is kind
    assert text in caught.value.message
    assert "\n" not in caught.value.message


def test_an_error_keeps_the_servers_word_for_it() -> None:
    with (
        answering(lambda asked: say({"error_code": "BAD_REQUEST", "message": "no"}, 400)) as server,
        open_transport(server.url) as transport,
        pytest.raises(TrackingError) as caught,
    ):
        transport.call("GET", "runs/get")
    assert caught.value.error_code == "BAD_REQUEST"
    assert TrackingError("x").error_code == "INVALID_PARAMETER_VALUE"


# who asks


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("login", "environ", "shown"),
    [
        ("", {}, None),
        ("", {"MLFLOW_TRACKING_TOKEN": "s3cret"}, "Bearer s3cret"),
        ("", {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "s3cret"}, basic("ada", "s3cret")),
        ("", {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_TOKEN": "s3cret"}, "Bearer s3cret"),
        (
            "",
            {
                "MLFLOW_TRACKING_USERNAME": "ada",
                "MLFLOW_TRACKING_PASSWORD": "s3cret",
                "MLFLOW_TRACKING_TOKEN": "other",
            },
            basic("ada", "s3cret"),
        ),
        ("bob:s3%2Fcret@", {"MLFLOW_TRACKING_TOKEN": "other"}, basic("bob", "s3/cret")),
    ],
)
def test_credentials_are_shown_to_the_server_and_to_nobody_else(
    login: str, environ: dict[str, str], shown: str | None
) -> None:
    def echo(asked: Asked) -> Said:
        return say({"error_code": "BAD_REQUEST", "message": f"you said {asked.headers.get('authorization')}"}, 400)

    with answering(echo) as server:
        url = server.url.replace("://", f"://{login}")
        with open_transport(url, environ) as transport:
            with pytest.raises(TrackingError) as caught:
                transport.call("GET", "runs/get")
            texts = [str(caught.value), repr(transport), repr(transport.address), transport.address.uri]
    assert server.asked[0].headers.get("authorization") == shown
    secrets = ("s3cret", "s3/cret", "s3%2Fcret", *(shown or "x").split(" ")[1:])
    assert not [(secret, text) for secret in secrets for text in texts if secret in text]


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http://[::1",
        "http://h:99999",
        "http://h:x",
        "ftp://h",
        "http://user:s3cret@",
        "http://h /x",
        "http://h\n",
    ],
)
def test_a_tracking_uri_that_is_none_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(TrackingError) as caught:
        find_address(uri, {})
    assert "s3cret" not in str(caught.value)


def test_an_address_is_the_same_with_and_without_its_credentials_and_default_port() -> None:
    assert find_address("https://ada:x@h.example.org:443/a/", {}).uri == "https://h.example.org/a"
    assert (
        find_address("https://h.example.org/a", {}).digest
        == find_address("https://b:c@h.example.org:443/a/", {}).digest
    )
    assert find_address("http://[::1]:5000", {}).uri == "http://[::1]:5000"


def test_a_token_with_a_line_end_is_refused() -> None:
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_TOKEN") as caught:
        find_address("http://h", {"MLFLOW_TRACKING_TOKEN": "s3cret\nX: y"})
    assert "s3cret" not in str(caught.value)


# the way there


def test_a_server_below_a_path_is_asked_there() -> None:
    with answering(lambda asked: say({})) as server, open_transport(f"{server.url}/team/a/") as transport:
        transport.call("GET", "runs/get")
    assert server.asked[0].path == "/team/a/api/2.0/mlflow/runs/get"


def test_a_certificate_is_checked_against_the_one_named() -> None:
    with answering(lambda asked: say({"ok": 1}), tls=True) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(ServerUnavailableError, match="MLFLOW_TRACKING_SERVER_CERT_PATH"):
            open_transport(url).call("GET", "runs/get")
        for environ in ({"MLFLOW_TRACKING_SERVER_CERT_PATH": str(CERT)}, {"MLFLOW_TRACKING_INSECURE_TLS": "true"}):
            with open_transport(url, environ) as transport:
                assert transport.call("GET", "runs/get") == {"ok": 1}


def test_certificates_that_cannot_be_read_are_named() -> None:
    transport = open_transport("https://localhost:9", {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/nothing/ca.pem"})
    with pytest.raises(TrackingError, match="cannot be read") as caught:
        transport.call("GET", "runs/get")
    assert not isinstance(caught.value, ServerUnavailableError)


@pytest.mark.parametrize(("no_proxy", "expected"), [("", 1), ("127.0.0.1", 0), ("*", 0)])
def test_a_proxy_is_used_but_for_what_needs_none(no_proxy: str, expected: int) -> None:
    proxy = Proxy()
    try:
        with answering(lambda asked: say({})) as server:
            environ = {"HTTP_PROXY": proxy.url, "NO_PROXY": no_proxy}
            with open_transport(server.url, environ) as transport:
                transport.call("GET", "runs/get")
        assert len(proxy.seen) == expected
    finally:
        proxy.close()


def test_a_server_behind_tls_is_reached_through_a_tunnel() -> None:
    login = basic("ada", "pw")
    proxy = Proxy(login=login)
    try:
        with answering(lambda asked: say({}), tls=True) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            named = proxy.url.replace("://", "://ada:pw@")
            environ = {
                "https_proxy": named,
                "MLFLOW_TRACKING_SERVER_CERT_PATH": str(CERT),
                "MLFLOW_TRACKING_TOKEN": "t",
            }
            with open_transport(url, environ) as transport:
                transport.call("GET", "runs/get")
        assert proxy.seen[0].startswith("CONNECT localhost:")
        assert "proxy-authorization" not in server.asked[0].headers
        assert server.asked[0].headers["authorization"] == "Bearer t"
    finally:
        proxy.close()


def test_a_file_is_sent_from_its_beginning_each_time() -> None:
    seen, script = fail_first(2, Said(status=500))
    with answering(script) as server, open_transport(server.url) as transport:  # type: ignore[arg-type]
        source = io.BytesIO(b"x" * 100_000)
        source.seek(7)
        headers = {"Content-Length": "100000"}
        assert transport.send("PUT", "/a", body=source, headers=headers).status == 200
    assert [len(asked.body) for asked in server.asked] == [100_000] * 3
    assert len(seen) == 3


def test_an_answer_goes_into_a_file_whole_or_not_at_all() -> None:
    _, script = fail_first(1, Said(body=b"0123456789" * 1000, cut=True))
    target = io.BytesIO()
    with answering(script) as server, open_transport(server.url) as transport:  # type: ignore[arg-type]
        transport.send("GET", "/a", into=target)
    assert target.getvalue() == b'{"ok": true}'


# patience


def test_waits_double_and_have_an_end() -> None:
    patience = Patience(retries=3, factor_s=0.5, jitter_s=0.0)
    assert [patience.compute_wait_s(tried) for tried in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, None]
    assert patience.compute_wait_s(1, 7.0) == 7.0
    assert patience.compute_wait_s(1, 1e9) == LONGEST_WAIT_S
    assert patience.compute_wait_s(4, 7.0) is None
    assert Patience(retries=1, factor_s=1.0, jitter_s=1.0).compute_wait_s(1, draw=lambda: 0.5) == 1.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3.0), (" 0 ", 0.0), ("", None), (None, None), ("soon", None), ("-1", None), ("1.5", None), ("٣", None)],
)
def test_a_retry_after_is_a_number(text: str | None, expected: float | None) -> None:
    assert parse_retry_after(text, now_s=0.0) == expected


def test_a_retry_after_is_a_date() -> None:
    assert parse_retry_after(formatdate(1_700_000_030, usegmt=True), now_s=1_700_000_000.0) == 30.0
    assert parse_retry_after(formatdate(1_700_000_030, usegmt=True), now_s=1_800_000_000.0) == 0.0


def test_the_variables_of_retries_are_mlflows() -> None:
    environ = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.25", "MLFLOW_HTTP_REQUEST_TIMEOUT": "9",
    }  # fmt: skip
    assert get_request_retries(environ) == (7, 2.0, 0.25)
    assert get_request_timeout_s(environ) == 9.0
    assert get_request_timeout_s({}) == 60.0
    for value in ("x", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match=f"MLFLOW_HTTP_REQUEST_TIMEOUT is `{value}`"):
            get_request_timeout_s({"MLFLOW_HTTP_REQUEST_TIMEOUT": value})
