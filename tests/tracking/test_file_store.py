from __future__ import annotations

import math
from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint, RunStatus, parse_experiment_meta
from repro.tracking.store import find_directory, open_store


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    return ReadableStore(tmp_path / "my runs")


def start(store: ReadableStore, experiment_id: str = "0") -> str:
    return store.start(experiment_id)


def test_a_run_has_the_layout_that_mlflow_reads(store: ReadableStore) -> None:
    run_id = start(store)
    run_dir = store.root / "0" / run_id
    assert sorted(path.name for path in run_dir.iterdir()) == ["artifacts", "meta.yaml", "metrics", "params", "tags"]
    assert len(run_id) == 32
    assert store.find_run_dir(run_id) == run_dir
    assert store.get_info(run_id).artifact_uri == (run_dir / "artifacts").as_uri()
    assert "my%20runs" in store.get_info(run_id).artifact_uri
    default = parse_experiment_meta((store.root / "0" / "meta.yaml").read_text())
    assert (default.experiment_id, default.name) == ("0", "Default")
    assert store.read_tags(run_id) == {"mlflow.runName": f"run-{run_id[:8]}", "mlflow.user": "ada", "t": "x"}


def test_an_experiment_has_an_id_of_18_digits_and_its_name_once(store: ReadableStore) -> None:
    experiment_id = store.create_experiment("wine")
    assert len(experiment_id) == 18
    assert experiment_id.isdigit()
    assert store.get_info(start(store, experiment_id)).experiment_id == experiment_id
    with pytest.raises(TrackingError, match="there is an experiment `wine` already"):
        store.create_experiment("wine")


def test_an_unknown_experiment_is_an_error(store: ReadableStore) -> None:
    with pytest.raises(TrackingError, match="there is no experiment `7`"):
        start(store, "7")


@pytest.mark.parametrize("run_id", ["0" * 32, "", "..", "*", "../0"])
def test_an_unknown_run_is_an_error(store: ReadableStore, run_id: str) -> None:
    start(store)
    with pytest.raises(TrackingError) as caught:
        store.get_info(run_id)
    assert caught.value.message == f"there is no run `{run_id}` in `{store.root}`"


@pytest.mark.parametrize("value", ["0.5", "", " a ", "a\r\nb\n", "ü"])
def test_a_parameter_may_be_logged_again_with_the_same_value(store: ReadableStore, value: str) -> None:
    run_id = start(store)
    store.log_param(run_id, "group/alpha", value)
    store.log_param(run_id, "group/alpha", value)
    assert store.read_params(run_id) == {"group/alpha": value}


def test_a_parameter_keeps_its_first_value(store: ReadableStore) -> None:
    run_id = start(store)
    store.log_param(run_id, "alpha", "0.5")
    with pytest.raises(TrackingError) as caught:
        store.log_param(run_id, "alpha", "0.7")
    assert caught.value.message == f"the parameter `alpha` of run `{run_id}` is `0.5` and cannot become `0.7`"
    assert store.read_params(run_id) == {"alpha": "0.5"}


def test_a_metric_is_the_value_of_the_highest_step_then_time_then_value(store: ReadableStore) -> None:
    run_id = start(store)
    for value, timestamp_ms, step in [(1.0, 9, 1), (2.0, 3, 2), (3.0, 5, 2), (2.5, 5, 2), (math.nan, 5, 2)]:
        store.log_metric(run_id, "loss", MetricPoint(value=value, timestamp_ms=timestamp_ms, step=step))
    assert store.read_metrics(run_id) == {"loss": 3.0}
    lines = (store.find_run_dir(run_id) / "metrics" / "loss").read_text().splitlines()
    assert lines == ["9 1.0 1", "3 2.0 2", "5 3.0 2", "5 2.5 2", "5 nan 2"]


def test_a_tag_is_replaced(store: ReadableStore) -> None:
    run_id = start(store)
    store.set_tag(run_id, "t", "y")
    assert store.read_tags(run_id)["t"] == "y"


def test_a_run_that_ends_has_status_and_time(store: ReadableStore) -> None:
    run_id = start(store)
    assert store.get_info(run_id).status is RunStatus.RUNNING
    store.update_run(run_id, status=RunStatus.FAILED, end_time_ms=7)
    assert (store.get_info(run_id).status, store.get_info(run_id).end_time_ms) == (RunStatus.FAILED, 7)


def test_files_directories_and_texts_are_kept(store: ReadableStore, tmp_path: Path) -> None:
    run_id = start(store)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.png").write_bytes(b"a")
    store.log_artifact(run_id, tmp_path / "plots" / "a.png", "images")
    store.log_artifact(run_id, tmp_path / "plots")
    store.log_text(run_id, "hello", "notes/n.txt")
    assert store.list_files(run_id) == ["images/a.png", "notes/n.txt", "plots/a.png"]


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/tmp/x"])
def test_an_artifact_stays_in_its_run(store: ReadableStore, tmp_path: Path, path: str) -> None:
    run_id = start(store)
    (tmp_path / "f").write_text("f")
    with pytest.raises(TrackingError, match="leads out of the run"):
        store.log_artifact(run_id, tmp_path / "f", path)
    with pytest.raises(TrackingError, match="leads out of the run"):
        store.log_text(run_id, "t", path)


def test_a_file_that_is_not_there_cannot_be_kept(store: ReadableStore) -> None:
    run_id = start(store)
    with pytest.raises(TrackingError, match="there is no file `gone` to keep"):
        store.log_artifact(run_id, "gone")


@pytest.mark.parametrize("source", [".", ".."])
def test_a_directory_that_holds_the_run_cannot_be_kept_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / ("" if source == "." else "below"))
    store = ReadableStore(tmp_path / "here" / "mlruns")
    run_id = start(store)
    with pytest.raises(TrackingError, match="holds the run"):
        store.log_artifact(run_id, source)
    assert store.list_files(run_id) == []


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        (None, "/base/mlruns"),
        ("runs", "/base/runs"),
        ("./runs", "/base/runs"),
        ("/abs/runs", "/abs/runs"),
        ("file:///abs/my%20runs", "/abs/my runs"),
        ("file:/abs", "/abs"),
    ],
)
def test_a_path_or_a_file_uri_names_a_store(uri: str | None, root: str) -> None:
    assert find_directory(uri, cwd=Path("/base")) == Path(root)


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "databricks://profile", "ftp://u:p@h"])
def test_other_schemes_are_refused_without_their_secrets(uri: str) -> None:
    scheme = uri.partition(":")[0]
    with pytest.raises(TrackingError) as caught:
        open_store(uri, cwd=Path("/base"))
    assert caught.value.message == f"the tracking URI `{scheme}:...` is not supported by this version of repro"
    assert caught.value.hint == "use a directory, MLFLOW_TRACKING_URI=./mlruns, or a server, https://..."
