"""Runs as plain files."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import TrackingError
from repro.formats.run_meta import (
    MetricPoint,
    RunInfo,
    RunStatus,
    check_key,
    format_metric_line,
    format_run_meta,
    parse_metric_line,
    parse_run_meta,
)
from repro.tracking.file_store import FileStore, open_store

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)
times = st.integers(0, 2**45)


@given(st.floats(allow_nan=False), times, st.integers(-(2**40), 2**40))
def test_a_metric_line_and_its_point_are_each_others_inverse(value: float, timestamp_ms: int, step: int) -> None:
    point = MetricPoint(value=value, timestamp_ms=timestamp_ms, step=step)
    assert parse_metric_line(format_metric_line(point)) == point


@pytest.mark.parametrize(
    ("line", "value", "step"),
    [("5 1.5", 1.5, 0), ("5 2 7", 2.0, 7), ("5 -inf 1", -math.inf, 1), ("5 1 2 name digest", 1.0, 2)],
)
def test_every_form_of_a_metric_line_is_read(line: str, value: float, step: int) -> None:
    assert parse_metric_line(line) == MetricPoint(value=value, timestamp_ms=5, step=step)


@pytest.mark.parametrize("line", ["", "5", "x 1 2", "5 x 2", "5 1 2 3"])
def test_what_is_no_metric_line_is_named(line: str) -> None:
    with pytest.raises(TrackingError, match=f"`{line}` is no metric line"):
        parse_metric_line(line)


@given(words, words, st.sampled_from(RunStatus), times, st.none() | times)
def test_a_runs_meta_and_its_value_are_each_others_inverse(
    name: str, user: str, status: RunStatus, start_ms: int, end_ms: int | None
) -> None:
    info = RunInfo(
        run_id="a" * 32,
        experiment_id="0",
        run_name=name,
        user_id=user,
        status=status,
        start_time_ms=start_ms,
        end_time_ms=end_ms,
        artifact_uri="file:///x",
    )
    assert parse_run_meta(format_run_meta(info)) == info


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", "a\nb", "a*b", "x" * 251])
def test_a_key_that_could_leave_its_directory_is_refused(key: str) -> None:
    with pytest.raises(TrackingError, match="is no name for a metric"):
        check_key("metric", key)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """An empty store."""
    return FileStore(tmp_path / "mlruns")


@pytest.fixture
def run_id(store: FileStore) -> str:
    """A run in it."""
    return store.create_run(experiment_id="0", run_name=None, user="me", start_time_ms=1, tags={"a/b": "c"}).run_id


def test_a_parameter_may_be_logged_again_but_not_changed(store: FileStore, run_id: str) -> None:
    store.log_param(run_id, "p", "1")
    store.log_param(run_id, "p", "1")
    with pytest.raises(TrackingError, match="is `1` and cannot become `2`"):
        store.log_param(run_id, "p", "2")


def test_keys_with_slashes_are_directories(store: FileStore, run_id: str) -> None:
    store.log_param(run_id, "group/p", "1")
    store.log_metric(run_id, "group/m", MetricPoint(value=1.0, timestamp_ms=1))
    assert store.read_params(run_id) == {"group/p": "1"}
    assert store.read_metrics(run_id) == {"group/m": 1.0}
    assert store.read_tags(run_id)["a/b"] == "c"


def test_the_latest_value_is_that_of_the_highest_step(store: FileStore, run_id: str) -> None:
    for value, timestamp_ms, step in ((1.0, 9, 0), (2.0, 1, 2), (3.0, 5, 1), (math.nan, 1, 2)):
        store.log_metric(run_id, "m", MetricPoint(value=value, timestamp_ms=timestamp_ms, step=step))
    assert store.read_metrics(run_id) == {"m": 2.0}


def test_points_of_several_threads_are_all_there(store: FileStore, run_id: str) -> None:
    def log(start: int) -> None:
        for step in range(start, start + 200):
            store.log_metric(run_id, "m", MetricPoint(value=step, timestamp_ms=1, step=step))

    threads = [threading.Thread(target=log, args=(start,)) for start in range(0, 1000, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (store.find_run_dir(run_id) / "metrics" / "m").read_text().splitlines()
    assert sorted(parse_metric_line(line).step for line in lines) == list(range(1000))


def test_artifacts_stay_inside_the_run(store: FileStore, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    store.log_artifact(run_id, tmp_path / "file.txt", "plots/a")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "leaf").write_text("y")
    store.log_artifact(run_id, tmp_path / "tree")
    assert store.list_artifacts(run_id) == ["plots/a/file.txt", "tree/deep/leaf"]
    for path in ("../x", "/x", "a/../../x"):
        with pytest.raises(TrackingError, match="leads out of the run"):
            store.log_artifact(run_id, tmp_path / "file.txt", path)


def test_a_run_that_is_not_there_is_named(store: FileStore) -> None:
    for name in ("b" * 32, "../0", ""):
        with pytest.raises(TrackingError, match=f"there is no run `{name}`"):
            store.get_run(name)


def test_an_experiment_has_a_name_once(store: FileStore) -> None:
    experiment_id = store.create_experiment("first")
    assert len(experiment_id) == 18
    assert store.find_experiment("first") is not None
    with pytest.raises(TrackingError, match="there is an experiment `first` already"):
        store.create_experiment("first")
    with pytest.raises(TrackingError, match="there is no experiment `7`"):
        store.create_run(experiment_id="7", run_name=None, user="me", start_time_ms=1, tags={})


@pytest.mark.parametrize(
    ("uri", "root"), [(None, "mlruns"), ("runs", "runs"), ("file:///x/a%20b", "/x/a b"), ("/x/y", "/x/y")]
)
def test_a_tracking_uri_names_a_directory(uri: str | None, root: str, tmp_path: Path) -> None:
    assert open_store(uri, cwd=tmp_path).root == tmp_path / root


def test_another_kind_of_store_is_refused_with_advice(tmp_path: Path) -> None:
    for uri in ("http://host", "sqlite:///x.db", "databricks://p"):
        with pytest.raises(TrackingError, match="is not supported by this version"):
            open_store(uri, cwd=tmp_path)
