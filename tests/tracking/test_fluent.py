"""The fluent functions and the client, called as people call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from readable_store import ReadableStore
from test_active_run import run_script

from repro.errors import TrackingError
from repro.tracking.client import Client
from repro.tracking.entities import ViewType


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    return ReadableStore(tmp_path / "mlruns")


@pytest.fixture
def client(store: ReadableStore) -> Client:
    return Client(store=store)


class Entity:
    """A value of MLflow's, e.g. its `Param`."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


def test_a_batch_takes_mappings_lists_and_mlflows_own_values(client: Client, store: ReadableStore) -> None:
    run_id = store.start()
    client.log_batch(run_id, [Entity(key="m", value=1.0, timestamp=5, step=2)], [Entity(key="p", value="1")])
    client.log_batch(run_id, {"n": 2}, [{"key": "q", "value": 2}], [{"key": "t", "value": "x"}], synchronous=True)
    assert store.read_metrics(run_id) == {"m": 1.0, "n": 2.0}
    assert store.read_params(run_id) == {"p": "1", "q": "2"}
    with pytest.raises(TrackingError, match="a value of a batch has key and value"):
        client.log_batch(run_id, params=[{"name": "q", "value": 2}])


@pytest.mark.parametrize(("view", "count"), [("ALL", 2), (3, 2), (1, 1), (ViewType.DELETED_ONLY, 1)])
def test_a_view_is_a_word_or_mlflows_number(view: str | int, count: int, client: Client, store: ReadableStore) -> None:
    store.start()
    store.delete_run(store.start())
    assert len(client.search_runs(["0"], run_view_type=view)) == count


@pytest.mark.parametrize("view", ["all", 4, 0, None])
def test_what_is_no_view_is_refused(view: str, client: Client) -> None:
    with pytest.raises(TrackingError, match="is no view"):
        client.search_runs(["0"], run_view_type=view)


def test_a_search_takes_nothing_for_a_filter_and_one_word_for_a_list(client: Client, store: ReadableStore) -> None:
    store.start()
    assert len(client.search_runs("0", filter_string=None, order_by=None)) == 1
    assert len(client.search_runs("0", order_by="start_time DESC")) == 1
    assert len(client.search_experiments(order_by=None)) == 1


@pytest.mark.parametrize("key", [3, None, b"x", ("a",)])
def test_a_key_is_a_text(key: str, client: Client, store: ReadableStore) -> None:
    run_id = store.start()
    for log in (client.log_param, client.log_metric, client.set_tag):
        with pytest.raises(TrackingError, match="is no name for a"):
            log(run_id, key, 1)


def test_runs_and_experiments_have_an_id(client: Client, store: ReadableStore) -> None:
    run_id = store.start()
    assert (client.get_run(run_id).id, client.get_experiment("0").id) == (run_id, "0")


def test_a_status_is_a_word_or_nothing(client: Client, store: ReadableStore) -> None:
    run_id = store.start()
    with pytest.raises(TrackingError, match="`x` is no status"):
        client.update_run(run_id, status="x")
    client.set_terminated(run_id, None)
    assert client.get_run(run_id).info.status == "FINISHED"


def test_nothing_is_logged_of_metrics_of_which_one_is_no_number(store: ReadableStore) -> None:
    body = "try: log_metrics({'a': 1, 'b': None})\nexcept Exception: print(get_run().data.metrics)"
    assert run_script(store, body).stdout.strip() == "{}"


def test_metrics_of_one_call_have_one_time(store: ReadableStore) -> None:
    body = (
        "log_metrics({str(number): 1 for number in range(1000)}, synchronous=True)\n"
        "print(len({point.timestamp_ms for point in get_run().data.points.values()}))\n"
    )
    assert run_script(store, body).stdout.strip() == "1"


def test_artifacts_are_downloaded_by_the_name_they_have(store: ReadableStore, tmp_path: Path) -> None:
    run_id = store.start()
    store.log_text(run_id, "x", "a b%20c#d.txt")
    body = (
        "import json\n"
        f"paths = [download_artifacts(run_id='{run_id}', artifact_path='a b%20c#d.txt', dst_path='new/dir'),\n"
        f"    download_artifacts('runs:/{run_id}/a b%20c#d.txt')]\n"
        "print(json.dumps([open(path).read() for path in paths]))\n"
    )
    finished = run_script(store, body)
    assert json.loads(finished.stdout or "[]") == ["x", "x"], finished.stderr
    assert (tmp_path / "new" / "dir" / "a b%20c#d.txt").exists()


def test_a_run_that_is_resumed_takes_the_name_given(store: ReadableStore) -> None:
    run_id = store.start(name="a")
    run_script(store, f"with start_run('{run_id}', run_name='b'): pass")
    assert store.get_info(run_id).run_name == "b"


def test_values_are_logged_to_a_run_by_its_id(store: ReadableStore) -> None:
    run_id = store.start()
    body = (
        f"log_metric('m', 1, run_id='{run_id}')\n"
        f"log_params({{'p': 1}}, run_id='{run_id}')\n"
        f"log_text('x', 'a.txt', run_id='{run_id}')\n"
        "print(active_run())\n"
    )
    finished = run_script(store, body)
    assert finished.stdout.strip() == "None", finished.stderr
    assert (store.read_metrics(run_id), store.read_params(run_id)) == ({"m": 1.0}, {"p": "1"})
    assert store.read_text(run_id, "a.txt") == "x"
