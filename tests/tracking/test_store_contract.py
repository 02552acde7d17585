"""What every store does alike: one suite for a directory, our own server over one, and a real MLflow server."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from repro.errors import TrackingError, TrackingExistsError, TrackingNotFoundError
from repro.formats.run_meta import MetricPoint, RunStatus
from repro.tracking.entities import Batch, Dataset, ExperimentQuery, Metric, NewRun, Run, RunQuery, ViewType
from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background
from repro.tracking.store import Store, open_store

REAL_SERVER = [pytest.mark.mlflow, pytest.mark.xdist_group("mlflow_server")]


@pytest.fixture(params=["file", "served", pytest.param("rest", marks=REAL_SERVER)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "file":
        yield open_store(str(tmp_path / "my runs"), cwd=tmp_path)
        return
    if request.param == "served":
        endpoint = serve_in_background(FileStore(tmp_path / "my runs"), token=None)
        yield open_store(endpoint.uri, cwd=tmp_path)
        endpoint.close()
        return
    yield open_store(request.getfixturevalue("mlflow_server").url, cwd=tmp_path)


@pytest.fixture
def experiment_id(store: Store) -> str:
    return store.create_experiment(f"contract-{uuid.uuid4().hex}")


def start(store: Store, experiment_id: str, **tags: str) -> Run:
    new = NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1_700_000_000_000, run_name="n", tags=tags)
    return store.create_run(new)


def point(value: float, time_ms: int = 1, step: int = 0) -> MetricPoint:
    return MetricPoint(value=value, timestamp_ms=time_ms, step=step)


# experiments


def test_an_experiment_is_found_by_its_id_and_its_name(store: Store) -> None:
    name = f"wine {uuid.uuid4().hex}"
    experiment_id = store.create_experiment(name, tags={"team": "red"})
    experiment = store.get_experiment(experiment_id)
    assert (experiment.name, experiment.lifecycle_stage, dict(experiment.tags)) == (name, "active", {"team": "red"})
    assert experiment.creation_time_ms > 1_600_000_000_000
    found = store.find_experiment(name)
    assert found is not None
    assert found.experiment_id == experiment_id
    assert store.find_experiment(f"{name}x") is None


def test_a_name_of_an_experiment_is_taken_once_also_by_a_deleted_one(store: Store) -> None:
    name = uuid.uuid4().hex
    experiment_id = store.create_experiment(name)
    with pytest.raises(TrackingExistsError):
        store.create_experiment(name)
    store.delete_experiment(experiment_id)
    assert store.get_experiment(experiment_id).lifecycle_stage == "deleted"
    found = store.find_experiment(name)
    assert found is not None
    assert found.lifecycle_stage == "deleted"
    with pytest.raises(TrackingExistsError):
        store.create_experiment(name)
    store.restore_experiment(experiment_id)
    assert store.get_experiment(experiment_id).lifecycle_stage == "active"


def test_an_experiment_without_a_name_is_refused(store: Store) -> None:
    with pytest.raises(TrackingError):
        store.create_experiment(" ")


def test_an_experiment_is_renamed_and_tagged(store: Store, experiment_id: str) -> None:
    name = uuid.uuid4().hex
    store.rename_experiment(experiment_id, name)
    store.set_experiment_tag(experiment_id, "team", "red")
    store.set_experiment_tag(experiment_id, "team", "white")
    store.set_experiment_tag(experiment_id, "note", "x")
    store.delete_experiment_tag(experiment_id, "note")
    experiment = store.get_experiment(experiment_id)
    assert (experiment.name, dict(experiment.tags)) == (name, {"team": "white"})


@pytest.mark.parametrize("missing", ["987654321", "123456789012345678"])
def test_an_experiment_that_is_not_there_is_said(store: Store, missing: str) -> None:
    with pytest.raises(TrackingNotFoundError):
        store.get_experiment(missing)
    with pytest.raises(TrackingNotFoundError):
        start(store, missing)


def test_experiments_are_listed_by_view(store: Store, experiment_id: str) -> None:
    deleted_id = store.create_experiment(uuid.uuid4().hex)
    store.delete_experiment(deleted_id)

    def list_ids(view: ViewType) -> set[str]:
        return {each.experiment_id for each in store.search_experiments(ExperimentQuery(view=view))}

    assert {experiment_id, deleted_id} & list_ids(ViewType.ACTIVE_ONLY) == {experiment_id}
    assert {experiment_id, deleted_id} & list_ids(ViewType.DELETED_ONLY) == {deleted_id}
    assert {experiment_id, deleted_id} <= list_ids(ViewType.ALL)


# runs


def test_a_run_begins_as_it_was_asked_for(store: Store, experiment_id: str) -> None:
    made = start(store, experiment_id, kind="test")
    run = store.get_run(made.run_id)
    assert len(run.run_id) == 32
    info = run.info
    assert (info.experiment_id, info.run_name, info.user_id) == (experiment_id, "n", "ada")
    assert (info.status, info.start_time_ms, info.end_time_ms) == (RunStatus.RUNNING, 1_700_000_000_000, None)
    assert info.lifecycle_stage == "active"
    assert run.data.tags["kind"] == "test"
    assert run.data.tags["mlflow.runName"] == "n"
    assert (dict(run.data.params), run.data.metrics) == ({}, {})
    assert made.info == info


def test_a_run_without_a_name_gets_one(store: Store, experiment_id: str) -> None:
    run = store.create_run(NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=5))
    assert run.info.run_name
    assert store.get_run(run.run_id).data.tags["mlflow.runName"] == run.info.run_name


def test_a_run_ends_and_begins_again(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    ended = store.update_run(run_id, status=RunStatus.FAILED, end_time_ms=1_700_000_000_500, name="better")
    assert (ended.status, ended.end_time_ms, ended.run_name) == (RunStatus.FAILED, 1_700_000_000_500, "better")
    run = store.get_run(run_id)
    assert run.info == ended
    assert run.data.tags["mlflow.runName"] == "better"
    assert store.update_run(run_id, status=RunStatus.RUNNING).status is RunStatus.RUNNING


def test_a_deleted_run_is_still_read_and_takes_nothing(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    store.delete_run(run_id)
    assert store.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(TrackingError):
        log_and_flush(store, run_id, Batch(params={"a": "1"}))
    with pytest.raises(TrackingError):
        log_and_flush(store, run_id, Batch(metrics=[Metric(key="m", point=point(1.0))]))
    store.restore_run(run_id)
    log_and_flush(store, run_id, Batch(params={"b": "2"}))
    run = store.get_run(run_id)
    assert (run.info.lifecycle_stage, dict(run.data.params), run.data.metrics) == ("active", {"b": "2"}, {})


def log_and_flush(store: Store, run_id: str, batch: Batch) -> None:
    store.log_batch(run_id, batch)
    store.flush()


@pytest.mark.parametrize("missing", ["0" * 32, "deadbeef"])
def test_a_run_that_is_not_there_is_said(store: Store, missing: str) -> None:
    with pytest.raises(TrackingNotFoundError):
        store.get_run(missing)
    with pytest.raises(TrackingNotFoundError):
        store.update_run(missing, status=RunStatus.FINISHED)
    with pytest.raises(TrackingError):
        log_and_flush(store, missing, Batch(tags={"a": "b"}))


@pytest.mark.parametrize("hostile", ["", "..", "../0", "a/b", "*"])
def test_an_id_that_is_none_is_refused(store: Store, hostile: str) -> None:
    with pytest.raises(TrackingError):
        store.get_run(hostile)
    with pytest.raises(TrackingError):
        log_and_flush(store, hostile, Batch(tags={"a": "b"}))


def test_runs_are_found_by_experiment_and_view_the_newest_first(store: Store, experiment_id: str) -> None:
    new = [NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1000 + each) for each in range(3)]
    ids = [store.create_run(each).run_id for each in new]
    store.delete_run(ids[1])

    def search(view: ViewType) -> list[str]:
        return [run.run_id for run in store.search_runs(RunQuery(experiment_ids=(experiment_id,), view=view))]

    assert search(ViewType.ACTIVE_ONLY) == [ids[2], ids[0]]
    assert search(ViewType.DELETED_ONLY) == [ids[1]]
    assert search(ViewType.ALL) == ids[::-1]


def search(store: Store, experiment_id: str, text: str = "", *order_by: str) -> list[str]:
    query = RunQuery(experiment_ids=(experiment_id,), filter=text, order_by=order_by)
    return [run.info.run_name for run in store.search_runs(query)]


def test_runs_are_found_by_what_was_logged(store: Store, experiment_id: str) -> None:
    for number, name in enumerate(["a", "b", "c"]):
        new = NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1000 + number, run_name=name)
        run_id = store.create_run(new).run_id
        batch = Batch(
            metrics=[Metric(key="val/loss", point=point(number / 2))],
            params={"alpha": f"0.{number}", "only " + name: "x"},
            tags={"kind": "odd" if number % 2 else "even"},
        )
        store.log_batch(run_id, batch)
        if name == "c":
            store.update_run(run_id, status=RunStatus.FAILED, end_time_ms=5000)
    assert search(store, experiment_id, "metrics.`val/loss` >= 0.5") == ["c", "b"]
    assert search(store, experiment_id, "params.alpha = '0.1' AND tags.kind = 'odd'") == ["b"]
    assert search(store, experiment_id, "tags.kind LIKE 'ev%'", "metrics.`val/loss` ASC") == ["a", "c"]
    assert search(store, experiment_id, "attributes.status = 'FAILED'") == ["c"]
    assert search(store, experiment_id, "attributes.run_name != 'c'", "start_time ASC") == ["a", "b"]
    assert search(store, experiment_id, "params.`only b` = 'x'") == ["b"]
    assert search(store, experiment_id, "", "params.alpha DESC") == ["c", "b", "a"]
    for bad in ("metrics.loss", "nothing.a = 'b'", "params.alpha > '1'", "metrics.`val/loss` = 'x'"):
        with pytest.raises(TrackingError):
            search(store, experiment_id, bad)


def test_pages_of_runs_follow_each_other(store: Store, experiment_id: str) -> None:
    new = [NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1000 + each) for each in range(5)]
    ids = [store.create_run(each).run_id for each in new]
    found: list[str] = []
    token, sizes = None, []
    while True:
        page = store.search_runs(RunQuery(experiment_ids=(experiment_id,), max_results=2, page_token=token))
        found += [run.run_id for run in page]
        sizes.append(len(page))
        token = page.token
        if token is None:
            break
    assert found == ids[::-1]
    assert sizes == [2, 2, 1]


# what is logged


@pytest.mark.parametrize("value", ["0.5", " a ", "a\r\nb\n", "ü🙂", "{}", "'\"\\", "x" * 6000])
def test_a_parameter_is_kept_as_it_is(store: Store, experiment_id: str, value: str) -> None:
    run_id = start(store, experiment_id).run_id
    store.log_batch(run_id, Batch(params={"group/alpha b-c.d": value}))
    store.log_batch(run_id, Batch(params={"group/alpha b-c.d": value}))
    store.flush()
    assert dict(store.get_run(run_id).data.params) == {"group/alpha b-c.d": value}


def test_a_parameter_keeps_its_first_value(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    store.log_batch(run_id, Batch(params={"alpha": "0.5"}))
    with pytest.raises(TrackingError, match=r"`?alpha`?.*0\.7"):
        store.log_batch(run_id, Batch(params={"alpha": "0.7"}))
    assert dict(store.get_run(run_id).data.params) == {"alpha": "0.5"}


def test_a_parameter_that_another_process_has_logged_keeps_its_value(
    store: Store, experiment_id: str, tmp_path: Path
) -> None:
    run_id = start(store, experiment_id).run_id
    log_and_flush(store, run_id, Batch(params={"alpha": "0.5"}))
    other = open_store(store.uri, cwd=tmp_path)
    with pytest.raises(TrackingError):
        log_and_flush(other, run_id, Batch(params={"alpha": "0.7", "beta": "1"}))
    assert store.get_run(run_id).data.params["alpha"] == "0.5"


KEYS = ["", ".", "..", "a/../b", "/a", "a//b", "a\nb", "a\0b", "k" * 251, "a;b"]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_a_key_that_is_none_is_refused_at_the_call(store: Store, experiment_id: str, key: str) -> None:
    run_id = start(store, experiment_id).run_id
    with pytest.raises(TrackingError):
        store.log_metric(run_id, key, point(1.0))
    for batch in (Batch(params={key: "1"}), Batch(tags={key: "1"}), Batch(metrics=[Metric(key=key, point=point(1.0))])):
        with pytest.raises(TrackingError):
            store.log_batch(run_id, batch)
    run = store.get_run(run_id)
    assert (dict(run.data.params), run.data.metrics) == ({}, {})


def test_of_a_batch_with_an_impossible_key_nothing_is_kept(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    bad = Batch(params={"a": "1"}, metrics=[Metric(key="ok", point=point(1.0)), Metric(key="..", point=point(1.0))])
    with pytest.raises(TrackingError):
        store.log_batch(run_id, bad)
    run = store.get_run(run_id)
    assert (dict(run.data.params), run.data.metrics) == ({}, {})


def test_the_history_of_a_metric_has_every_point(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    points = [point(0.1, 10, -1), point(1e300, 11, 0), point(5e-324, 12, 2**40), point(-0.5, 13, 3)]
    for each in points:
        store.log_metric(run_id, "a/loss", each)
    assert store.get_metric_history(run_id, "a/loss") == points
    assert store.get_metric_history(run_id, "other") == []


def test_the_value_of_a_metric_is_that_of_the_highest_step_then_time_then_value(
    store: Store, experiment_id: str
) -> None:
    run_id = start(store, experiment_id).run_id
    for each in (point(1.0, 9, 1), point(2.0, 3, 2), point(3.0, 5, 2), point(2.5, 5, 2)):
        store.log_metric(run_id, "loss", each)
    run = store.get_run(run_id)
    assert run.data.points == {"loss": point(3.0, 5, 2)}
    assert run.data.metrics == {"loss": 3.0}


def test_numbers_that_are_none_and_infinities_are_kept(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    for key, value in (("nan", math.nan), ("up", math.inf), ("down", -math.inf)):
        store.log_metric(run_id, key, point(value))
    metrics = store.get_run(run_id).data.metrics
    assert math.isnan(metrics["nan"])
    assert metrics["up"] >= 1.79e308  # a SQL store keeps an infinity as the largest number
    assert metrics["down"] <= -1.79e308


def test_ten_thousand_points_are_all_there_in_order(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    points = [point(step / 7, 1000 + step, step) for step in range(10_000)]
    for each in points:
        store.log_metric(run_id, "loss", each)
    store.flush()
    assert store.get_metric_history(run_id, "loss") == points


def test_a_batch_of_any_size_is_kept(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    batch = Batch(
        metrics=[Metric(key=f"m{each}", point=point(each)) for each in range(1500)],
        params={f"p{each}": str(each) for each in range(150)},
        tags={f"t{each}": str(each) for each in range(150)},
    )
    log_and_flush(store, run_id, batch)
    run = store.get_run(run_id)
    assert (len(run.data.metrics), len(run.data.params)) == (1500, 150)
    assert {f"t{each}" for each in range(150)} <= set(run.data.tags)


def test_tags_are_set_changed_and_removed_in_order(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    for value in ("1", "2", ""):
        store.set_tag(run_id, "a", value)
    store.set_tag(run_id, "b", "x")
    store.delete_tag(run_id, "b")
    store.set_tag(run_id, "mlflow.note.content", "# said\n" * 100)
    tags = store.get_run(run_id).data.tags
    assert (tags["a"], "b" in tags, tags["mlflow.note.content"]) == ("", False, "# said\n" * 100)
    with pytest.raises(TrackingNotFoundError):
        store.delete_tag(run_id, "b")


def test_datasets_are_kept_once(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    dataset = Dataset(
        name="wine", digest="abcd1234", source_type="local", source='{"uri":"wine.csv"}', schema='{"a":1}',
        tags={"mlflow.data.context": "training"},
    )  # fmt: skip
    store.log_datasets(run_id, (dataset,))
    store.log_datasets(run_id, (dataset,))
    assert store.get_run(run_id).datasets == (dataset,)


# artifacts


def test_artifacts_are_written_read_and_listed(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    store.write_artifact(run_id, "notes.txt", b"hello")
    store.write_artifact(run_id, "plots/a b/\u00fc.bin", bytes(range(256)))
    store.write_artifact(run_id, "empty", b"")
    store.write_artifact(run_id, "notes.txt", b"again")
    assert store.read_artifact(run_id, "notes.txt") == b"again"
    assert store.read_artifact(run_id, "plots/a b/\u00fc.bin") == bytes(range(256))
    listed = [(each.path, each.is_dir, each.size_bytes) for each in store.list_artifacts(run_id)]
    assert listed == [("empty", False, 0), ("notes.txt", False, 5), ("plots", True, None)]
    assert [each.path for each in store.list_artifacts(run_id, "plots/a b")] == ["plots/a b/\u00fc.bin"]
    assert store.list_artifacts(run_id, "nothing") == []


def test_an_artifact_that_is_not_there_is_said(store: Store, experiment_id: str, tmp_path: Path) -> None:
    run_id = start(store, experiment_id).run_id
    store.write_artifact(run_id, "a/b", b"x")
    for path in ("nothing", "a/nothing", "a"):
        with pytest.raises(TrackingNotFoundError):
            store.read_artifact(run_id, path)
    with pytest.raises(TrackingNotFoundError):
        store.download_artifacts(run_id, "nothing", tmp_path)


def test_an_artifact_path_that_leads_out_is_refused(store: Store, experiment_id: str) -> None:
    run_id = start(store, experiment_id).run_id
    for path in ("../x", "/x", "a/../../x"):
        with pytest.raises(TrackingError):
            store.write_artifact(run_id, path, b"x")
        with pytest.raises(TrackingError):
            store.read_artifact(run_id, path)


def test_a_directory_goes_and_comes_back(store: Store, experiment_id: str, tmp_path: Path) -> None:
    run_id = start(store, experiment_id).run_id
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "MLmodel").write_bytes(b"x" * 3_000_000)
    (tmp_path / "model" / "code" / "loader.py").write_text("pass")
    store.log_artifact(run_id, tmp_path / "model", "models")
    store.log_artifact(run_id, tmp_path / "model" / "MLmodel")
    there = store.download_artifacts(run_id, "models/model", tmp_path / "back")
    assert there == tmp_path / "back" / "models" / "model"
    assert (there / "MLmodel").read_bytes() == b"x" * 3_000_000
    assert (there / "code" / "loader.py").read_text() == "pass"
    one = store.download_artifacts(run_id, "models/model/code/loader.py", tmp_path / "one")
    assert one == tmp_path / "one" / "models/model/code/loader.py"
    assert one.read_text() == "pass"
    store.download_artifacts(run_id, "", tmp_path / "all")
    files = sorted(each.relative_to(tmp_path / "all").as_posix() for each in (tmp_path / "all").rglob("*.*"))
    assert files == ["models/model/code/loader.py"]
    assert (tmp_path / "all" / "MLmodel").exists()


def test_a_file_that_is_not_there_cannot_be_kept(store: Store, experiment_id: str, tmp_path: Path) -> None:
    run_id = start(store, experiment_id).run_id
    with pytest.raises(TrackingError, match="there is no file"):
        store.log_artifact(run_id, tmp_path / "nothing")
