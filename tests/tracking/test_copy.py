"""Copies of runs: complete, known again, and added to."""

from __future__ import annotations

import math
import uuid
from pathlib import Path

import pytest

from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.run_meta import MetricPoint, RunInfo, RunStatus
from repro.tracking.copy import CopiedRun, copy_runs, find_missing, sort_parents_first
from repro.tracking.entities import PARENT_RUN_ID, Batch, Dataset, Metric, NewRun, Run, RunData, RunQuery, ViewType
from repro.tracking.store import Store, open_store

REAL_SERVER = [pytest.mark.mlflow, pytest.mark.xdist_group("mlflow_server")]


@pytest.fixture(
    params=[
        "file to file",
        pytest.param("file to rest", marks=REAL_SERVER),
        pytest.param("rest to file", marks=REAL_SERVER),
    ]
)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    def make(kind: str, name: str) -> Store:
        uri = str(tmp_path / name) if kind == "file" else request.getfixturevalue("mlflow_server").url
        return open_store(uri, cwd=tmp_path)

    source, _, target = request.param.split(" ")
    return make(source, "source"), make(target, "target")


DATASET = Dataset(
    name="wine", digest="abcd", source_type="local", source="{}", tags={"mlflow.data.context": "training"}
)


def make_run(store: Store, experiment_id: str, **tags: str) -> str:
    new = NewRun(experiment_id=experiment_id, user_id="ada", start_time_ms=1_700_000_000_000, run_name="n", tags=tags)
    run_id = store.create_run(new).run_id
    points = [MetricPoint(value=step / 3, timestamp_ms=1000 + step, step=step) for step in range(1200)]
    store.log_batch(
        run_id, Batch(metrics=[Metric(key="loss", point=point) for point in points], params={"alpha": "0.5"})
    )
    store.log_metric(run_id, "bad", MetricPoint(value=math.nan, timestamp_ms=1))
    store.log_metric(run_id, "top", MetricPoint(value=math.inf, timestamp_ms=1))
    store.log_datasets(run_id, (DATASET,))
    store.write_artifact(run_id, "requirements-lock.txt", b"alpha==1.0\n")
    store.write_artifact(run_id, "plots/a b.bin", bytes(100))
    store.update_run(run_id, status=RunStatus.FAILED, end_time_ms=1_700_000_005_000)
    return run_id


def list_copies(store: Store, name: str) -> list[Run]:
    experiment = store.find_experiment(name)
    assert experiment is not None
    return list(store.search_runs(RunQuery(experiment_ids=(experiment.experiment_id,), view=ViewType.ALL)))


def test_a_copy_has_all_that_the_run_has_and_a_second_copy_adds_nothing(stores: tuple[Store, Store]) -> None:
    source, target = stores
    name = uuid.uuid4().hex
    run_id = make_run(source, source.create_experiment(name, tags={"team": "red"}), kind="test")
    told: list[CopiedRun] = []
    result = copy_runs([run_id], source=source, target=target, on_run=told.append)
    (copied,) = result.runs
    assert told == [copied]
    assert (copied.source_id, copied.is_new, copied.points, copied.artifacts, copied.notes) == (
        run_id,
        True,
        1202,
        2,
        (),
    )
    copy = target.get_run(copied.run_id)
    info = copy.info
    assert (info.run_name, info.user_id, info.status) == ("n", "ada", RunStatus.FAILED)
    assert (info.start_time_ms, info.end_time_ms) == (1_700_000_000_000, 1_700_000_005_000)
    assert copy.data.params == {"alpha": "0.5"}
    assert (copy.data.tags["kind"], copy.data.tags["repro.copied_from"]) == ("test", run_id)
    assert copy.data.tags.get("repro.local_id") != source.get_run(run_id).data.tags.get("repro.local_id", "none")
    assert copy.datasets == (DATASET,)
    assert target.get_metric_history(copy.run_id, "loss") == source.get_metric_history(run_id, "loss")
    assert math.isnan(copy.data.metrics["bad"])
    assert copy.data.metrics["top"] >= 1.79e308
    assert target.read_artifact(copy.run_id, "requirements-lock.txt") == b"alpha==1.0\n"
    assert target.read_artifact(copy.run_id, "plots/a b.bin") == bytes(100)
    experiment = target.find_experiment(name)
    assert experiment is not None
    assert dict(experiment.tags) == {"team": "red"}

    (again,) = copy_runs([run_id], source=source, target=target).runs
    assert (again.run_id, again.is_new, again.points, again.artifacts) == (copy.run_id, False, 0, 0)
    assert [each.run_id for each in list_copies(target, name)] == [copy.run_id]
    after = target.get_run(copied.run_id)
    assert (after.info, after.data.params, after.data.tags) == (copy.info, copy.data.params, copy.data.tags)


def test_a_copy_that_comes_home_is_the_run_itself_with_what_was_added(stores: tuple[Store, Store]) -> None:
    source, target = stores
    name = uuid.uuid4().hex
    run_id = make_run(source, source.create_experiment(name))
    copy_id = copy_runs([run_id], source=source, target=target).runs[0].run_id
    target.set_tag(copy_id, "later", "yes")
    target.log_metric(copy_id, "loss", MetricPoint(value=9.0, timestamp_ms=9999, step=2000))
    target.flush()
    (back,) = copy_runs([copy_id], source=target, target=source).runs
    assert (back.run_id, back.is_new, back.points) == (run_id, False, 1)
    run = source.get_run(run_id)
    assert (run.data.tags["later"], run.data.metrics["loss"]) == ("yes", 9.0)
    assert "repro.copied_from" not in run.data.tags
    assert len(list_copies(source, name)) == 1


def test_nested_runs_keep_their_parents(stores: tuple[Store, Store]) -> None:
    source, target = stores
    experiment_id = source.create_experiment(uuid.uuid4().hex)
    parent = make_run(source, experiment_id)
    child = make_run(source, experiment_id, **{PARENT_RUN_ID: parent})
    grandchild = make_run(source, experiment_id, **{PARENT_RUN_ID: child})
    result = copy_runs([grandchild, child, parent], source=source, target=target)
    ids = {copied.source_id: copied.run_id for copied in result.runs}
    assert [copied.source_id for copied in result.runs] == [parent, child, grandchild]
    assert target.get_run(ids[child]).data.tags[PARENT_RUN_ID] == ids[parent]
    assert target.get_run(ids[grandchild]).data.tags[PARENT_RUN_ID] == ids[child]


def test_a_child_finds_its_parent_when_that_is_copied_later(stores: tuple[Store, Store]) -> None:
    source, target = stores
    experiment_id = source.create_experiment(uuid.uuid4().hex)
    parent = make_run(source, experiment_id)
    child = make_run(source, experiment_id, **{PARENT_RUN_ID: parent})
    copy_id = copy_runs([child], source=source, target=target).runs[0].run_id
    assert target.get_run(copy_id).data.tags[PARENT_RUN_ID] == parent
    both = copy_runs([child, parent], source=source, target=target).runs
    assert target.get_run(copy_id).data.tags[PARENT_RUN_ID] == both[0].run_id


def test_a_copy_that_was_broken_off_is_completed(stores: tuple[Store, Store]) -> None:
    source, target = stores
    name = uuid.uuid4().hex
    run_id = make_run(source, source.create_experiment(name))
    half = target.create_run(
        NewRun(
            experiment_id=target.create_experiment(name) if target.find_experiment(name) is None else "",
            user_id="ada", start_time_ms=1_700_000_000_000, tags={"repro.copied_from": run_id},
        )
    ).run_id  # fmt: skip
    target.log_metric(half, "loss", source.get_metric_history(run_id, "loss")[0])
    target.write_artifact(half, "requirements-lock.txt", b"alpha==9.9\n")  # the same size
    (copied,) = copy_runs([run_id], source=source, target=target).runs
    assert (copied.run_id, copied.is_new, copied.points, copied.artifacts) == (half, False, 1201, 2)
    assert target.get_metric_history(half, "loss") == source.get_metric_history(run_id, "loss")
    assert target.read_artifact(half, "requirements-lock.txt") == b"alpha==1.0\n"
    assert target.get_run(half).info.status is RunStatus.FAILED


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Store, Store]:
    return open_store(str(tmp_path / "one"), cwd=tmp_path), open_store(str(tmp_path / "two"), cwd=tmp_path)


def test_a_deleted_run_is_not_copied(directories: tuple[Store, Store]) -> None:
    source, target = directories
    run_id = make_run(source, "0")
    source.delete_run(run_id)
    with pytest.raises(TrackingError, match="is deleted"):
        copy_runs([run_id], source=source, target=target)


def test_a_run_that_is_not_there_is_said_before_anything_is_copied(directories: tuple[Store, Store]) -> None:
    source, target = directories
    run_id = make_run(source, source.create_experiment("e"))
    with pytest.raises(TrackingNotFoundError):
        copy_runs([run_id, "0" * 32], source=source, target=target)
    assert target.find_experiment("e") is None


def test_a_store_is_not_copied_to_itself(directories: tuple[Store, Store]) -> None:
    with pytest.raises(TrackingError, match="is both where the runs are"):
        copy_runs([], source=directories[0], target=directories[0])


def test_a_server_that_is_away_is_said_at_once(
    directories: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run_id = make_run(directories[0], "0")
    with pytest.raises(TrackingError, match="cannot be reached"):
        copy_runs([run_id], source=directories[0], target=open_store("http://127.0.0.1:9", cwd=tmp_path))


def point(step: int, value: float = 1.0) -> MetricPoint:
    return MetricPoint(value=value, timestamp_ms=1, step=step)


def test_missing_points_are_those_that_are_there_less_often() -> None:
    there = [point(1), point(2), point(3, math.nan), point(4, 1.7976931348623157e308)]
    here = [point(1), point(2), point(2), point(3, math.nan), point(4, math.inf), point(5)]
    assert [metric.point.step for metric in find_missing("m", there, here)] == [2, 5]


def test_runs_that_are_each_others_parents_are_sorted_all_the_same() -> None:
    def make(run_id: str, parent: str) -> Run:
        info = RunInfo(
            run_id=run_id, experiment_id="0", run_name="", user_id="", status=RunStatus.RUNNING, start_time_ms=0,
            end_time_ms=None, artifact_uri="",
        )  # fmt: skip
        return Run(info=info, data=RunData(tags={PARENT_RUN_ID: parent}))

    runs = [make("a", "b"), make("b", "c"), make("c", "a"), make("d", "d")]
    assert sorted(run.run_id for run in sort_parents_first(runs)) == ["a", "b", "c", "d"]
