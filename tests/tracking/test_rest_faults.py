"""Runs on a real MLflow server that goes away, answers late or not at all: complete in the end, nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy, fail_some, never
from mlflow_server import MlflowServer

from repro.errors import ServerUnavailableError
from repro.formats.run_meta import MetricPoint, RunStatus
from repro.tracking.entities import PARENT_RUN_ID, Batch, NewRun, RunQuery, ViewType
from repro.tracking.rest.store import RestStore, open_rest_store
from repro.tracking.rest.sync import SyncResult, SyncState, sync_outbox
from repro.tracking.store import open_store

pytestmark = [pytest.mark.mlflow, pytest.mark.xdist_group("mlflow_server")]


@pytest.fixture
def proxy(mlflow_file_server: MlflowServer) -> Iterator[FaultyProxy]:
    """A proxy before a server that would keep a point twice."""
    made = FaultyProxy(mlflow_file_server.port)
    yield made
    made.close()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "REPRO_OUTBOX": str(tmp_path / "outbox"),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0.05",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }


@pytest.fixture
def store(proxy: FaultyProxy, environ: dict[str, str], tmp_path: Path) -> RestStore:
    return open_rest_store(proxy.url, environ=environ, cwd=tmp_path)


@pytest.fixture
def direct(mlflow_file_server: MlflowServer, tmp_path: Path) -> RestStore:
    """What looks at the server itself."""
    other = {"REPRO_OUTBOX": str(tmp_path / "other-outbox")}
    return open_rest_store(mlflow_file_server.url, environ=other, cwd=tmp_path)


@pytest.fixture
def experiment_id(direct: RestStore) -> str:
    return direct.create_experiment(f"faults-{uuid.uuid4().hex}")


def new_run(experiment_id: str, **tags: str) -> NewRun:
    return NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1_700_000_000_000, tags=tags)


def point(step: int) -> MetricPoint:
    return MetricPoint(value=step / 3, timestamp_ms=1_700_000_000_000 + step, step=step)


def log(store: RestStore, run_id: str, first: int, last: int) -> None:
    for step in range(first, last):
        store.log_metric(run_id, "loss", point(step))


def list_runs(store: RestStore, experiment_id: str) -> list[str]:
    query = RunQuery(experiment_ids=(experiment_id,), view=ViewType.ACTIVE_ONLY)
    return [run.run_id for run in store.search_runs(query)]


def sync(environ: dict[str, str], tmp_path: Path, url: str) -> SyncResult:
    return sync_outbox(environ=environ, cwd=tmp_path, uri=url)


def is_empty(outbox: Path) -> bool:
    return not [path for path in outbox.glob("*/runs/*/*") if path.name != "lock"]


@pytest.mark.parametrize("fault", [Fault.DROP_ANSWER, Fault.CUT_ANSWER, Fault.ERROR_AFTER], ids=lambda each: each.name)
@pytest.mark.parametrize("most", [1, 2])
def test_a_run_whose_creation_was_not_answered_is_made_once(
    store: RestStore, direct: RestStore, proxy: FaultyProxy, experiment_id: str, fault: Fault, most: int
) -> None:
    proxy.script = fail_some("POST", "runs/create", fault, most=most)
    run = store.create_run(new_run(experiment_id))
    assert list_runs(direct, experiment_id) == [run.run_id]
    assert proxy.count("POST", "runs/create") == 1


def test_a_creation_that_never_arrived_is_asked_for_again(
    store: RestStore, direct: RestStore, proxy: FaultyProxy, experiment_id: str
) -> None:
    proxy.script = fail_some("POST", "runs/create", Fault.DROP_REQUEST, most=1)
    run = store.create_run(new_run(experiment_id))
    assert list_runs(direct, experiment_id) == [run.run_id]


def test_an_experiment_whose_creation_was_not_answered_is_made_once(
    store: RestStore, direct: RestStore, proxy: FaultyProxy
) -> None:
    proxy.script = fail_some("POST", "experiments/create", Fault.DROP_ANSWER, most=1)
    name = uuid.uuid4().hex
    experiment_id = store.create_experiment(name)
    assert direct.get_experiment(experiment_id).name == name


@pytest.mark.parametrize(
    "fault",
    [Fault.DROP_ANSWER, Fault.CUT_ANSWER, Fault.ERROR_AFTER, Fault.DROP_REQUEST, Fault.ERROR],
    ids=lambda each: each.name,
)
def test_points_whose_batch_was_not_answered_are_there_once(
    store: RestStore, direct: RestStore, proxy: FaultyProxy, experiment_id: str, fault: Fault
) -> None:
    proxy.script = fail_some("POST", "runs/log-batch", fault, every=2)
    run_id = store.create_run(new_run(experiment_id)).run_id
    log(store, run_id, 0, 3500)
    store.log_batch(run_id, Batch(params={"a": "1"}, tags={"b": "2"}))
    store.flush()
    assert direct.get_metric_history(run_id, "loss") == [point(step) for step in range(3500)]
    run = direct.get_run(run_id)
    assert (dict(run.data.params), run.data.tags["b"]) == ({"a": "1"}, "2")


def test_points_whose_answer_came_too_late_are_there_once(
    direct: RestStore, proxy: FaultyProxy, experiment_id: str, environ: dict[str, str], tmp_path: Path
) -> None:
    slow = environ | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    store = open_rest_store(proxy.url, environ=slow, cwd=tmp_path)
    run_id = store.create_run(new_run(experiment_id)).run_id
    proxy.script = fail_some("POST", "runs/log-batch", Fault.DELAY_ANSWER, most=1)
    log(store, run_id, 0, 100)
    store.flush()
    assert direct.get_metric_history(run_id, "loss") == [point(step) for step in range(100)]


def test_a_server_that_limits_our_rate_is_waited_for(
    store: RestStore, direct: RestStore, proxy: FaultyProxy, experiment_id: str
) -> None:
    run_id = store.create_run(new_run(experiment_id)).run_id
    proxy.script = fail_some("POST", "runs/log-batch", Fault.LIMIT, most=1)
    log(store, run_id, 0, 10)
    began = time.monotonic()
    store.flush()
    assert time.monotonic() - began > 0.8  # it asked for a second
    assert direct.get_metric_history(run_id, "loss") == [point(step) for step in range(10)]
    assert proxy.count("POST", "runs/log-batch") == 2


@pytest.mark.parametrize("fault", [Fault.DROP_ANSWER, Fault.ERROR, Fault.ERROR_AFTER], ids=lambda each: each.name)
def test_an_artifact_whose_answer_was_lost_is_there_whole(
    store: RestStore, direct: RestStore, proxy: FaultyProxy, experiment_id: str, fault: Fault, tmp_path: Path
) -> None:
    run_id = store.create_run(new_run(experiment_id)).run_id
    proxy.script = fail_some("PUT", "artifacts", fault, most=2)
    (tmp_path / "model.bin").write_bytes(os.urandom(500_000))
    store.log_artifact(run_id, tmp_path / "model.bin")
    assert direct.read_artifact(run_id, "model.bin") == (tmp_path / "model.bin").read_bytes()
    assert [each.path for each in direct.list_artifacts(run_id)] == ["model.bin"]


def test_an_answer_that_is_cut_off_is_asked_for_again(
    store: RestStore, proxy: FaultyProxy, experiment_id: str, tmp_path: Path
) -> None:
    run_id = store.create_run(new_run(experiment_id)).run_id
    store.write_artifact(run_id, "a.bin", b"x" * 100_000)
    for end in ("runs/get", "mlflow-artifacts/artifacts"):
        proxy.script = fail_some("GET", end, Fault.CUT_ANSWER, most=2)
        assert store.get_run(run_id).run_id == run_id
        assert store.download_artifacts(run_id, "a.bin", tmp_path).read_bytes() == b"x" * 100_000


def test_a_run_goes_on_while_the_server_is_away_and_is_complete_after_a_sync(
    store: RestStore, direct: RestStore, proxy: FaultyProxy, experiment_id: str, environ: dict[str, str], tmp_path: Path
) -> None:
    run_id = store.create_run(new_run(experiment_id)).run_id
    log(store, run_id, 0, 1500)
    store.flush()
    proxy.is_down = True
    log(store, run_id, 1500, 3000)
    store.log_batch(run_id, Batch(params={"alpha": "0.5"}, tags={"kind": "x"}))
    store.write_artifact(run_id, "notes.txt", b"kept")
    store.set_tag(run_id, "kind", "y")
    info = store.update_run(run_id, status=RunStatus.FINISHED, end_time_ms=1_700_000_009_000)
    assert (info.status, info.end_time_ms) == (RunStatus.FINISHED, 1_700_000_009_000)
    store.flush()
    with pytest.raises(ServerUnavailableError):
        store.get_run(run_id)
    waiting = sync({**environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, tmp_path, proxy.url)
    assert [run.state for run in waiting.runs] == [SyncState.BUSY]  # it is ours: we hold its journal
    proxy.is_down = False
    store.flush()
    run = direct.get_run(run_id)
    assert (run.info.status, run.info.end_time_ms) == (RunStatus.FINISHED, 1_700_000_009_000)
    assert (dict(run.data.params), run.data.tags["kind"]) == ({"alpha": "0.5"}, "y")
    assert direct.read_artifact(run_id, "notes.txt") == b"kept"
    assert direct.get_metric_history(run_id, "loss") == [point(step) for step in range(3000)]
    assert is_empty(tmp_path / "outbox")


SCRIPT = """
import os, sys, time
from pathlib import Path
from repro.formats.run_meta import MetricPoint, RunStatus
from repro.tracking.entities import PARENT_RUN_ID, Batch, NewRun
from repro.tracking.store import open_store

uri, name, how = sys.argv[1:]
store = open_store(uri, cwd=Path.cwd())
found = store.find_experiment(name)
experiment_id = found.experiment_id if found else store.create_experiment(name)
new = NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1_700_000_000_000, run_name="outer")
outer = store.create_run(new).run_id
tags = {PARENT_RUN_ID: outer}
inner = store.create_run(NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=5, tags=tags)).run_id
print(outer, inner, flush=True)
for step in range(2500):
    store.log_metric(outer, "loss", MetricPoint(value=step / 3, timestamp_ms=1_700_000_000_000 + step, step=step))
store.log_batch(outer, Batch(params={"alpha": "0.5"}, tags={"kind": "x"}))
store.write_artifact(outer, "a/notes.txt", b"kept")
assert store.read_artifact(outer, "a/notes.txt") == b"kept"
run = store.get_run(outer)
assert run.info.run_name == "outer" and run.data.metrics == {"loss": 2499 / 3}, run
if how == "kill":
    os.kill(os.getpid(), 9)
store.update_run(inner, status=RunStatus.FAILED, end_time_ms=6)
store.update_run(outer, status=RunStatus.FINISHED, end_time_ms=1_700_000_009_000)
"""


def run_script(url: str, name: str, how: str, environ: dict[str, str], tmp_path: Path) -> tuple[str, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, url, name, how], cwd=tmp_path, env={**os.environ, **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (-signal.SIGKILL if how == "kill" else 0), done.stderr
    outer, inner = done.stdout.split()
    return outer, inner, done.stderr


@pytest.mark.parametrize("how", ["end", "kill"])
@pytest.mark.parametrize("is_named", [True, False], ids=["experiment-known", "experiment-new"])
def test_runs_that_began_while_the_server_was_away_are_made_once_by_syncs(
    direct: RestStore, proxy: FaultyProxy, environ: dict[str, str], tmp_path: Path, how: str, is_named: bool
) -> None:
    name = uuid.uuid4().hex
    if is_named:
        direct.create_experiment(name)
    proxy.is_down = True
    outer, inner, stderr = run_script(proxy.url, name, how, environ, tmp_path)
    assert "the run goes on" in stderr
    assert "repro runs sync" in stderr
    assert "Traceback" not in stderr

    quick = {**environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    away = sync(quick, tmp_path, proxy.url)
    assert [(run.local_id, run.run_id, run.state) for run in away.runs] == [
        (outer, None, SyncState.WAITING), (inner, None, SyncState.WAITING)
    ]  # fmt: skip
    assert away.runs[0].waiting >= 2502
    assert not away.is_complete

    proxy.is_down = False
    proxy.script = fail_some("POST", "", Fault.DROP_ANSWER, every=2)  # half of all that changes something
    for _ in range(20):
        if sync(environ, tmp_path, proxy.url).is_complete:
            break
    proxy.script = never
    assert sync(environ, tmp_path, proxy.url).runs == ()
    assert is_empty(tmp_path / "outbox")

    experiment = direct.find_experiment(name)
    assert experiment is not None
    runs = {run_id: direct.get_run(run_id) for run_id in list_runs(direct, experiment.experiment_id)}
    assert sorted(run.data.tags["repro.local_id"] for run in runs.values()) == sorted([outer, inner])
    by_local = {run.data.tags["repro.local_id"]: run for run in runs.values()}
    run = by_local[outer]
    assert run.run_id != outer
    assert run.info.run_name == "outer"
    assert run.info.start_time_ms == 1_700_000_000_000
    assert (run.data.params["alpha"], run.data.tags["kind"]) == ("0.5", "x")
    assert by_local[inner].data.tags[PARENT_RUN_ID] == run.run_id
    assert direct.get_metric_history(run.run_id, "loss") == [point(step) for step in range(2500)]
    assert direct.read_artifact(run.run_id, "a/notes.txt") == b"kept"
    ended = (RunStatus.FINISHED, 1_700_000_009_000) if how == "end" else (RunStatus.RUNNING, None)
    assert (run.info.status, run.info.end_time_ms) == ended

    later = open_rest_store(proxy.url, environ=environ, cwd=tmp_path)  # both ids are accepted
    assert later.get_run(outer).info == later.get_run(run.run_id).info
    later.set_tag(outer, "later", "yes")
    assert later.get_run(run.run_id).data.tags["later"] == "yes"


def test_what_a_killed_process_has_left_is_sent_by_the_next_flush(
    direct: RestStore, proxy: FaultyProxy, environ: dict[str, str], tmp_path: Path
) -> None:
    name = uuid.uuid4().hex
    direct.create_experiment(name)
    proxy.is_down = True
    run_script(proxy.url, name, "kill", environ, tmp_path)
    proxy.is_down = False
    open_rest_store(proxy.url, environ=environ, cwd=tmp_path).flush()
    experiment = direct.find_experiment(name)
    assert experiment is not None
    assert len(list_runs(direct, experiment.experiment_id)) == 2
    assert is_empty(tmp_path / "outbox")


def sync_in_process(environ: dict[str, str], tmp_path: Path, url: str) -> None:
    sync_outbox(environ=environ, cwd=tmp_path, uri=url)


def test_two_syncs_at_once_send_everything_once(
    direct: RestStore, proxy: FaultyProxy, environ: dict[str, str], tmp_path: Path
) -> None:
    name = uuid.uuid4().hex
    direct.create_experiment(name)
    proxy.is_down = True
    for _ in range(3):
        run_script(proxy.url, name, "end", environ, tmp_path)
    proxy.is_down = False
    context = multiprocessing.get_context("spawn")
    syncs = [context.Process(target=sync_in_process, args=(environ, tmp_path, proxy.url)) for _ in range(3)]
    for each in syncs:
        each.start()
    for each in syncs:
        each.join()
    assert [each.exitcode for each in syncs] == [0, 0, 0]
    sync(environ, tmp_path, proxy.url)
    experiment = direct.find_experiment(name)
    assert experiment is not None
    runs = [direct.get_run(run_id) for run_id in list_runs(direct, experiment.experiment_id)]
    outer = [run for run in runs if run.info.run_name == "outer"]
    assert (len(runs), len(outer)) == (6, 3)
    for run in outer:
        assert direct.get_metric_history(run.run_id, "loss") == [point(step) for step in range(2500)]


FORK = """
import os, sys
from pathlib import Path
from repro.formats.run_meta import MetricPoint
from repro.tracking.entities import NewRun
from repro.tracking.store import open_store

store = open_store(sys.argv[1], cwd=Path.cwd())
run_id = store.create_run(NewRun(experiment_id=sys.argv[2], user_id="ada", start_time_ms=5)).run_id

def log(key, count):
    for step in range(count):
        store.log_metric(run_id, key, MetricPoint(value=step, timestamp_ms=step, step=step))

log("parent", 500)
children = []
for number in range(3):
    child = os.fork()
    if not child:
        log(f"child{number}", 1200)
        if number == 2:
            os.kill(os.getpid(), 9)
        if number == 1:
            store.flush()
        os._exit(0)
    children.append(child)
log("parent", 500)
for child in children:
    os.waitpid(child, 0)
store.flush()
print(run_id)
"""


def test_forked_children_log_to_the_run_of_their_parent(
    direct: RestStore, proxy: FaultyProxy, experiment_id: str, environ: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, proxy.url, experiment_id], cwd=tmp_path, env={**os.environ, **environ},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.strip()
    steps = {
        key: [each.step for each in direct.get_metric_history(run_id, key)] for key in ("child0", "child1", "child2")
    }
    assert steps == {key: list(range(1200)) for key in steps}
    assert sorted(each.step for each in direct.get_metric_history(run_id, "parent")) == sorted([*range(500)] * 2)
    assert is_empty(tmp_path / "outbox")


def test_what_the_server_refuses_is_told_and_put_aside_and_the_rest_is_sent(
    store: RestStore, direct: RestStore, experiment_id: str, environ: dict[str, str], tmp_path: Path, proxy: FaultyProxy
) -> None:
    run_id = store.create_run(new_run(experiment_id)).run_id
    direct.log_batch(run_id, Batch(params={"alpha": "1"}))
    direct.flush()
    log(store, run_id, 0, 10)
    store.log_batch(run_id, Batch(params={"alpha": "2", "beta": "3"}, tags={"kind": "x"}))
    with pytest.raises(Exception, match="the server refuses 1 of the values logged") as caught:
        store.flush()
    assert "alpha" in str(caught.value)
    store.flush()
    run = direct.get_run(run_id)
    assert (dict(run.data.params), run.data.tags["kind"]) == ({"alpha": "1", "beta": "3"}, "x")
    assert direct.get_metric_history(run_id, "loss") == [point(step) for step in range(10)]
    result = sync(environ, tmp_path, proxy.url)
    assert [(each.state, each.refused) for each in result.runs] == [(SyncState.REFUSED, 1)]
    assert Path(result.runs[0].refused_path or "").read_text().count("alpha") == 2


def test_a_real_server_that_is_stopped_in_the_middle_of_a_run_has_all_of_it_in_the_end(
    mlflow_server: MlflowServer, environ: dict[str, str], tmp_path: Path
) -> None:
    store = open_rest_store(mlflow_server.url, environ=environ, cwd=tmp_path)
    experiment_id = store.create_experiment(uuid.uuid4().hex)
    run_id = store.create_run(new_run(experiment_id)).run_id
    log(store, run_id, 0, 5000)  # some of it is on its way
    mlflow_server.stop()
    try:
        log(store, run_id, 5000, 8000)
        second = store.create_run(new_run(experiment_id, **{PARENT_RUN_ID: run_id})).run_id
        store.log_metric(second, "loss", point(1))
        store.update_run(second, status=RunStatus.FINISHED, end_time_ms=1_700_000_000_100)
        store.write_artifact(run_id, "notes.txt", b"kept")
        store.flush()
    finally:
        mlflow_server.start()
    log(store, run_id, 8000, 9000)
    store.update_run(run_id, status=RunStatus.FINISHED, end_time_ms=1_700_000_000_200)
    store.flush()
    assert store.get_metric_history(run_id, "loss") == [point(step) for step in range(9000)]
    assert store.read_artifact(run_id, "notes.txt") == b"kept"
    assert store.get_run(run_id).info.status is RunStatus.FINISHED
    runs = store.search_runs(RunQuery(experiment_ids=(experiment_id,)))
    assert len(runs) == 2
    inner = store.get_run(second)
    assert inner.run_id != second
    assert inner.data.tags[PARENT_RUN_ID] == run_id
    assert (inner.info.status, inner.data.metrics) == (RunStatus.FINISHED, {"loss": 1 / 3})
    assert is_empty(tmp_path / "outbox")


def test_open_store_chooses_a_server_by_its_uri(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    store = open_store(mlflow_server.url, cwd=tmp_path)
    assert store.uri == mlflow_server.url
    assert store.get_experiment("0").name == "Default"
