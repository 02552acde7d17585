"""Which outboxes a sync sends to whom, and what it says of servers that are away or refuse."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import cast

import pytest
from rest_server import Asked, Said, answering, say

from repro.errors import TrackingRefusedError
from repro.formats.run_meta import MetricPoint
from repro.tracking.rest.outbox import Outbox
from repro.tracking.rest.store import RestStore, open_rest_store
from repro.tracking.rest.sync import SyncState, sync_outbox

RUN = "a" * 32
NO_WAIT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def leave(store: RestStore, run_id: str = RUN, lines: str = 't {"key":"k","value":"v"}\n') -> None:
    """Keep entries as a process does that has ended."""
    journal = Outbox(store.outbox_dir).get_run(run_id).make_journal()
    journal.append(lines)
    journal.drop()


def environ_of(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"REPRO_OUTBOX": str(tmp_path / "outbox"), **NO_WAIT, **more}


def test_credentials_of_the_environment_go_to_the_server_it_names(tmp_path: Path) -> None:
    with answering(lambda asked: say({})) as one, answering(lambda asked: say({})) as two:
        environ = environ_of(tmp_path, MLFLOW_TRACKING_TOKEN="s3cret")
        for server in (one, two):
            leave(open_rest_store(server.url, environ=environ, cwd=tmp_path))
        named = {**environ, "MLFLOW_TRACKING_URI": one.url}
        assert [run.server for run in sync_outbox(environ=named, cwd=tmp_path).runs] == [one.url]
        assert [asked.headers.get("authorization") for asked in one.asked] == ["Bearer s3cret"]
        assert two.asked == []
        leave(open_rest_store(one.url, environ=environ, cwd=tmp_path))
        result = sync_outbox(environ=environ, cwd=tmp_path)
        assert sorted(run.server for run in result.runs) == sorted([one.url, two.url])
        assert [asked.headers.get("authorization") for asked in (*one.asked[1:], *two.asked)] == [None, None]


def test_the_only_server_is_shown_the_credentials(tmp_path: Path) -> None:
    with answering(lambda asked: say({})) as server:
        environ = environ_of(tmp_path, MLFLOW_TRACKING_TOKEN="s3cret")
        leave(open_rest_store(server.url, environ=environ, cwd=tmp_path))
        told: list[str] = []
        result = sync_outbox(environ=environ, cwd=tmp_path, on_run=lambda run: told.append(run.local_id))
    assert told == [RUN]
    assert result.to_dict() == {
        "complete": True,
        "runs": [
            {
                "server": server.url, "local_id": RUN, "run_id": RUN, "state": "sent", "sent": 1, "waiting": 0,
                "refused": 0, "refused_path": None, "reason": None,
            }
        ],
    }  # fmt: skip
    assert server.asked[0].headers["authorization"] == "Bearer s3cret"
    assert sync_outbox(environ=environ, cwd=tmp_path).runs == ()


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        (Said(drop=True), 1),
        (say({"error_code": "PERMISSION_DENIED", "message": "no"}, 403), 1),
        (Said(status=401), 1),
        (Said(status=404), 1),
    ],
)
def test_a_server_that_does_not_take_anything_is_asked_once_and_everything_waits(
    tmp_path: Path, said: Said, asks: int
) -> None:
    with answering(lambda asked: said) as server:
        environ = environ_of(tmp_path)
        for run_id in (RUN, "b" * 32):
            leave(open_rest_store(server.url, environ=environ, cwd=tmp_path), run_id)
        result = sync_outbox(environ=environ, cwd=tmp_path, uri=server.url)
    assert [(run.state, run.waiting) for run in result.runs] == [(SyncState.WAITING, 1)] * 2
    assert len(server.asked) == asks
    assert not result.is_complete
    assert result.runs[0].reason


def test_a_flush_says_that_the_server_wants_other_credentials_and_keeps_everything(tmp_path: Path) -> None:
    is_closed = True

    def script(asked: Asked) -> Said:
        return Said(status=401) if is_closed else say({})

    with answering(script) as server:
        store = open_rest_store(server.url, environ=environ_of(tmp_path), cwd=tmp_path)
        store.log_metric(RUN, "loss", MetricPoint(value=1.0, timestamp_ms=1))
        for _ in range(2):
            with pytest.raises(TrackingRefusedError, match="HTTP 401"):
                store.flush()
        is_closed = False
        store.flush()
    assert [asked.json["metrics"] for asked in server.asked][-1] == [
        {"key": "loss", "value": 1.0, "timestamp": 1, "step": 0}
    ]


def test_a_run_that_the_server_has_no_longer_is_put_aside_whole(tmp_path: Path) -> None:
    def script(asked: Asked) -> Said:
        return say({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=a not found"}, 404)

    with answering(script) as server:
        environ = environ_of(tmp_path)
        store = open_rest_store(server.url, environ=environ, cwd=tmp_path)
        lines = (f'm {{"key":"m","value":1.0,"timestamp":1,"step":{step}}}\n' for step in range(2000))
        leave(store, RUN, "".join(lines))
        result = sync_outbox(environ=environ, cwd=tmp_path, uri=server.url)
    assert [(run.state, run.refused, run.waiting) for run in result.runs] == [(SyncState.REFUSED, 2000, 0)]
    assert len(server.asked) < 10
    refused = Path(result.runs[0].refused_path or "").read_text().splitlines()
    assert len(refused) == 2000
    assert "Run with id=a not found" in refused[0]


def test_an_outbox_in_the_working_directory_is_for_a_server_that_is_named(tmp_path: Path) -> None:
    with answering(lambda asked: say({})) as server:
        environ = {
            "HOME": "/dev/null",
            "XDG_STATE_HOME": "/dev/null/state",
            "MLFLOW_TRACKING_TOKEN": "s3cret",
            **NO_WAIT,
        }
        leave(open_rest_store(server.url, environ=environ, cwd=tmp_path))
        assert sync_outbox(environ=environ, cwd=tmp_path).runs == ()  # it may have come with a clone
        assert server.asked == []
        named = {**environ, "MLFLOW_TRACKING_URI": server.url}
        assert [run.state for run in sync_outbox(environ=named, cwd=tmp_path).runs] == [SyncState.SENT]


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_link_in_an_outbox_sends_no_file_from_elsewhere(tmp_path: Path, what: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "id_key").write_text("s3cret")
    with answering(lambda asked: say({})) as server:
        environ = environ_of(tmp_path)
        store = open_rest_store(server.url, environ=environ, cwd=tmp_path)
        leave(store, RUN, 'a {"path":"x","file":"id_key"}\n')
        files = store.outbox_dir / "runs" / RUN / "files"
        if what == "directory":
            files.symlink_to(tmp_path / "secrets")
        else:
            files.mkdir()
            (files / "id_key").symlink_to(tmp_path / "secrets" / "id_key")
        result = sync_outbox(environ=environ, cwd=tmp_path, uri=server.url)
    assert [run.state for run in result.runs] == [SyncState.REFUSED]
    assert not any(b"s3cret" in asked.body for asked in server.asked)


def test_one_store_serves_everyone_who_asks_for_the_same_server(tmp_path: Path) -> None:
    environ = environ_of(tmp_path)
    store = open_rest_store("http://ada:x@h.example.org", environ=environ, cwd=tmp_path)
    assert open_rest_store("http://ada:x@h.example.org/", environ=environ, cwd=tmp_path) is store
    assert open_rest_store("http://bob:x@h.example.org/", environ=environ, cwd=tmp_path) is not store


class Interrupted(BaseException):
    """What a signal's handler raises."""


def test_a_batch_whose_sending_was_interrupted_is_compared_with_the_history(tmp_path: Path) -> None:
    points: list[dict[str, object]] = []

    def script(asked: Asked) -> Said:
        if asked.path.endswith("runs/log-batch"):
            metrics = asked.json["metrics"]
            assert isinstance(metrics, list)
            points.extend(metrics)
            if len(points) == 10:
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.3)
        latest = points[-1:]
        if "get-history" in asked.path:
            return say({"metrics": points})
        info = {"run_id": RUN, "experiment_id": "0", "status": "RUNNING"}
        return say({"run": {"info": info, "data": {"metrics": latest}}})

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with answering(script) as server:
            store = open_rest_store(server.url, environ=environ_of(tmp_path), cwd=tmp_path)
            for step in range(10):
                store.log_metric(RUN, "loss", MetricPoint(value=1.0, timestamp_ms=1, step=step))
            with pytest.raises(Interrupted):
                flush_and_wait(store)
            store.log_metric(RUN, "loss", MetricPoint(value=1.0, timestamp_ms=1, step=10))
            store.flush()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [each["step"] for each in points] == list(range(11))


def flush_and_wait(store: RestStore) -> None:
    store.flush()
    time.sleep(5)


def test_a_handler_of_a_signal_may_log_and_flush(tmp_path: Path) -> None:
    with answering(lambda asked: say({})) as server:
        store = open_rest_store(server.url, environ=environ_of(tmp_path), cwd=tmp_path)
        handled: list[int] = []

        def log_more(*_: object) -> None:
            handled.append(1)
            store.log_metric(RUN, "more", MetricPoint(value=1.0, timestamp_ms=len(handled)))
            store.flush()
            signal.setitimer(signal.ITIMER_REAL, 0.002)

        before = signal.signal(signal.SIGALRM, log_more)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        try:
            for step in range(3000):
                store.log_metric(RUN, "loss", MetricPoint(value=1.0, timestamp_ms=1, step=step))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        store.flush()
    sent = [each for asked in server.asked for each in cast("list[dict[str, object]]", asked.json["metrics"])]
    assert [each["step"] for each in sent if each["key"] == "loss"] == list(range(3000))
    assert [each["timestamp"] for each in sent if each["key"] == "more"] == [*range(1, len(handled) + 1)]
    assert handled
