"""Stores that are damaged, full, moved, or made by a stranger."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.errors import TrackingError, TrackingNotFoundError
from repro.formats.run_meta import MetricPoint
from repro.tracking.entities import Batch, ExperimentQuery, Metric, RunQuery
from repro.tracking.file_store import FileStore


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    return ReadableStore(tmp_path / "mlruns")


@pytest.fixture
def run_id(store: ReadableStore) -> str:
    return store.start()


@contextmanager
def limit_files(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def edit_meta(store: FileStore, run_id: str, before: str, after: str) -> None:
    path = store.find_run_dir(run_id) / "meta.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize("scheme", ["s3://bucket", "gs://bucket", "https://example.org", "hdfs://host"])
def test_artifacts_elsewhere_are_never_taken_for_the_runs_own(scheme: str, store: ReadableStore, run_id: str) -> None:
    edit_meta(store, run_id, store.root.as_uri(), scheme)
    with pytest.raises(TrackingError, match="are kept elsewhere"):
        FileStore(store.root).open_artifacts(run_id)


def test_artifacts_of_a_store_that_was_moved_are_found(store: ReadableStore, run_id: str) -> None:
    store.log_text(run_id, "x", "a.txt")
    for there in ("file:///gone/mlruns", "/gone/mlruns"):
        edit_meta(store, run_id, store.get_info(run_id).artifact_uri.removesuffix(f"/0/{run_id}/artifacts"), there)
        assert FileStore(store.root).read_artifact(run_id, "a.txt") == b"x"


def test_a_relative_place_of_artifacts_stays_where_it_was_named(
    store: ReadableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment_id = store.create_experiment("wine", artifact_location="elsewhere")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    run_id = store.start(experiment_id=experiment_id)
    store.log_text(run_id, "x", "a.txt")
    assert (tmp_path / "elsewhere" / run_id / "artifacts" / "a.txt").read_text() == "x"


def test_a_tag_of_an_experiment_is_no_run(store: ReadableStore) -> None:
    experiment_id = store.create_experiment("wine", tags={"meta.yaml": "x"})
    store.delete_experiment(experiment_id)
    store.restore_experiment(experiment_id)
    assert store.get_experiment(experiment_id).lifecycle_stage == "active"
    with pytest.raises(TrackingNotFoundError):
        store.get_run("tags")


def test_a_damaged_experiment_hides_no_other(store: ReadableStore) -> None:
    store.create_experiment("wine")
    damaged = store.create_experiment("damaged")
    (store.root / damaged / "meta.yaml").write_bytes(b"\xff\xfe\x00name: \x80")
    assert store.find_experiment("wine") is not None
    assert {each.name for each in store.search_experiments(ExperimentQuery())} == {"Default", "wine"}
    store.create_experiment("beer")
    with pytest.raises(TrackingError, match="is not valid YAML"):
        store.get_experiment(damaged)


def test_a_damaged_run_does_not_keep_its_experiment_from_being_deleted(store: ReadableStore) -> None:
    experiment_id = store.create_experiment("wine")
    run_ids = [store.start(experiment_id=experiment_id) for _ in range(3)]
    for run_id in run_ids[:2]:
        (store.find_run_dir(run_id) / "meta.yaml").write_bytes(b"\xff")
    store.delete_experiment(experiment_id)
    assert store.get_info(run_ids[2]).lifecycle_stage == "deleted"


@pytest.mark.parametrize("part", ["params", "tags", "metrics"])
def test_a_file_in_place_of_a_directory_is_a_sentence(part: str, store: ReadableStore, run_id: str) -> None:
    directory = store.find_run_dir(run_id) / part
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    directory.write_text("x")
    metric = Metric(key="m", point=MetricPoint(1.0, 1))
    with pytest.raises(TrackingError, match=rf"the run `{run_id}` cannot be read .*{part}"):
        store.get_run(run_id)
    with pytest.raises(TrackingError, match="cannot be written"):
        store.log_batch(run_id, Batch(params={"a": "1"}, tags={"a": "1"}, metrics=[metric]))


def test_a_directory_in_place_of_meta_yaml_is_no_run(store: ReadableStore, run_id: str) -> None:
    path = store.find_run_dir(run_id) / "meta.yaml"
    path.unlink()
    path.mkdir()
    with pytest.raises(TrackingNotFoundError):
        store.get_run(run_id)


def test_names_that_no_file_can_have_are_not_there(store: ReadableStore) -> None:
    for name in ("1" * 300, "a\0b"):
        with pytest.raises(TrackingNotFoundError):
            store.get_experiment(name)
        with pytest.raises(TrackingNotFoundError):
            store.get_run(name)


def test_a_torn_last_line_harms_no_later_point(store: ReadableStore, run_id: str) -> None:
    store.log_metric(run_id, "m", MetricPoint(1.0, 1, 1))
    path = store.find_run_dir(run_id) / "metrics" / "m"
    body = (
        "import sys\nfrom pathlib import Path\nfrom repro.formats.run_meta import MetricPoint\n"
        "from repro.tracking.file_store import FileStore\n"
        "FileStore(Path(sys.argv[1])).log_metric(sys.argv[2], 'm', MetricPoint(3.0, 3, 3))\n"
    )
    with path.open("a") as file:
        file.write("2 0.")
    subprocess.run([sys.executable, "-c", body, str(store.root), run_id], check=True)
    assert store.get_metric_history(run_id, "m") == [MetricPoint(1.0, 1, 1), MetricPoint(3.0, 3, 3)]


def test_a_point_that_finds_no_room_leaves_nothing(store: ReadableStore, run_id: str) -> None:
    point = MetricPoint(0.123456789, 1_700_000_000_000, 1)
    line = f"{point.timestamp_ms} {point.value!r} {point.step}\n"
    with limit_files(len(line) * 5 // 2):
        store.log_metric(run_id, "m", point)
        store.log_metric(run_id, "m", point)
        with pytest.raises(TrackingError, match="the metric `m` cannot be written"):
            store.log_metric(run_id, "m", point)
        with pytest.raises(TrackingError, match="the metric `m` cannot be written"):
            store.log_batch(run_id, Batch(metrics=[Metric(key="m", point=point)]))
    store.log_metric(run_id, "m", point)
    assert store.get_metric_history(run_id, "m") == [point] * 3


def test_what_finds_no_room_leaves_no_file(store: ReadableStore, run_id: str) -> None:
    with limit_files(100):
        with pytest.raises(TrackingError, match="the parameter `p` cannot be written"):
            store.log_param(run_id, "p", "x" * 1000)
        with pytest.raises(TrackingError, match="the tag `t` cannot be written"):
            store.set_tag(run_id, "t", "x" * 1000)
        with pytest.raises(TrackingError, match=r"the artifact `a\.txt` cannot be written"):
            store.log_text(run_id, "x" * 1000, "a.txt")
    run_dir = store.find_run_dir(run_id)
    assert [path for part in ("params", "artifacts") for path in (run_dir / part).iterdir()] == []
    assert [path.name for path in (run_dir / "tags").iterdir() if path.name[0] == "."] == []


def test_text_that_is_no_unicode_is_refused_and_leaves_nothing(store: ReadableStore, run_id: str) -> None:
    with pytest.raises(TrackingError, match="the parameter `p` cannot be written"):
        store.log_param(run_id, "p", "\udc80")
    with pytest.raises(TrackingError, match="the tag `t` cannot be written"):
        store.set_tag(run_id, "t", "\udc80")
    assert list((store.find_run_dir(run_id) / "params").iterdir()) == []


def test_a_name_of_a_file_that_is_being_written_is_no_key(store: ReadableStore, run_id: str) -> None:
    with pytest.raises(TrackingError, match="is no name for a parameter"):
        store.log_param(run_id, ".deadbeef.tmp", "1")
    with pytest.raises(TrackingError, match="is no name for a metric"):
        store.log_metric(run_id, "a/.deadbeef.tmp", MetricPoint(1.0, 1))


def test_parameters_are_kept_where_there_are_no_links(
    store: ReadableStore, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), source)

    monkeypatch.setattr(os, "link", refuse)
    store.log_param(run_id, "p", "1")
    store.log_param(run_id, "p", "1")
    with pytest.raises(TrackingError, match="cannot become `2`"):
        store.log_param(run_id, "p", "2")
    assert store.read_params(run_id) == {"p": "1"}


def test_nothing_of_a_batch_with_another_value_is_kept(store: ReadableStore, run_id: str) -> None:
    store.log_param(run_id, "z", "1")
    with pytest.raises(TrackingError, match="cannot become"):
        store.log_batch(run_id, Batch(params={"a": "1", "z": "2"}, tags={"t": "1"}))
    assert store.read_params(run_id) == {"z": "1"}


def test_a_deleted_run_says_since_when_until_it_is_restored(store: ReadableStore, run_id: str) -> None:
    path = store.find_run_dir(run_id) / "meta.yaml"
    store.delete_run(run_id)
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("deleted_time")]
    assert int(line.partition(": ")[2]) > 1_600_000_000_000
    store.restore_run(run_id)
    assert "deleted_time" not in path.read_text()


def test_a_run_that_was_deleted_takes_no_more_points(store: ReadableStore, run_id: str) -> None:
    store.log_metric(run_id, "m", MetricPoint(1.0, 1))
    store.delete_run(run_id)
    with pytest.raises(TrackingError, match="is deleted"):
        store.log_metric(run_id, "m", MetricPoint(2.0, 2))


def test_a_link_is_kept_under_its_own_name(store: ReadableStore, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "model-3.bin").write_text("x")
    (tmp_path / "latest.bin").symlink_to("model-3.bin")
    store.log_artifact(run_id, tmp_path / "latest.bin")
    assert store.list_files(run_id) == ["latest.bin"]


def test_a_directory_that_links_to_itself_is_refused(store: ReadableStore, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "loop").symlink_to("..")
    (tmp_path / "tree" / "again").symlink_to(".")
    with pytest.raises(TrackingError, match="cannot be written"):
        store.log_artifact(run_id, tmp_path / "tree")


def test_links_among_artifacts_are_listed_where_they_can_be_read(
    store: ReadableStore, run_id: str, tmp_path: Path
) -> None:
    store.log_text(run_id, "x", "sub/a.txt")
    artifacts = store.find_run_dir(run_id) / "artifacts"
    (artifacts / "loop").symlink_to(".")
    (artifacts / "other").symlink_to("sub")
    (artifacts / "out").symlink_to(tmp_path)
    (artifacts / "passwd").symlink_to("/etc/passwd")
    (artifacts / "b.txt").symlink_to("sub/a.txt")
    assert [each.path for each in store.list_artifacts(run_id)] == ["b.txt", "sub"]


def test_damaged_runs_hide_no_other_from_a_search(store: ReadableStore) -> None:
    run_ids = [store.start() for _ in range(40)]
    for run_id in run_ids:
        store.log_batch(run_id, Batch(params={"p": "1"}, metrics=[Metric(key="m", point=MetricPoint(1.0, 1))]))
    dirs = [store.find_run_dir(run_id) for run_id in run_ids]
    (dirs[0] / "meta.yaml").write_bytes(b"\xff\xfe")
    (dirs[1] / "meta.yaml").write_text("a: [")
    edit_meta(store, run_ids[2], "start_time: 1\n", f"start_time: {10**30}\n")
    edit_meta(store, run_ids[3], "status: 1\n", "status: 9\n")
    (dirs[4] / "inputs" / "x").mkdir(parents=True)
    (dirs[4] / "inputs" / "x" / "meta.yaml").write_bytes(b"\xff")
    (dirs[5] / "inputs").write_text("x")
    (dirs[6] / "metrics" / "m").write_bytes(b"\xff\n")
    for query in ("", "metrics.m > 0", "datasets.name != 'x'"):
        for _ in range(2):
            found = store.search_runs(RunQuery(experiment_ids=("0",), filter=query, max_results=100))
            assert len(found) == {"": 36, "metrics.m > 0": 35}.get(query, 0)
    assert store.get_run(run_ids[4]).datasets == store.get_run(run_ids[5]).datasets == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_experiment_of_others_hides_no_other(store: ReadableStore, run_id: str) -> None:
    closed = store.root / store.create_experiment("closed")
    closed.chmod(0)
    try:
        assert {each.name for each in store.search_experiments(ExperimentQuery())} == {"Default"}
        assert FileStore(store.root).get_info(run_id).run_id == run_id
    finally:
        closed.chmod(0o755)


def test_a_store_that_is_no_directory_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrackingError, match="cannot be read"):
        FileStore(tmp_path / "file").search_experiments(ExperimentQuery())
    with pytest.raises(TrackingError, match="cannot be"):
        FileStore(tmp_path / "file").create_experiment("wine")
    with pytest.raises(TrackingError, match="cannot be read"):
        FileStore(tmp_path / "file").get_run("0" * 32)
