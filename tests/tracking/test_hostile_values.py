"""Values that could break a run's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.errors import TrackingError
from repro.formats.run_meta import MetricPoint, RunStatus


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    """An empty store."""
    return ReadableStore(tmp_path / "mlruns")


@pytest.fixture
def run_id(store: ReadableStore) -> str:
    """A run in it."""
    return store.start()


def test_there_is_one_default_experiment(store: ReadableStore) -> None:
    with pytest.raises(TrackingError, match="there is an experiment `Default` already"):
        store.create_experiment("Default")


def test_an_artifact_named_through_dots_stays_inside_the_run(store: ReadableStore, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "meta.yaml").write_text("evil")
    store.log_artifact(run_id, tmp_path / "tree" / "sub" / "..")
    assert store.get_info(run_id).run_id == run_id
    assert store.list_files(run_id) == ["tree/meta.yaml"]


@pytest.mark.parametrize("key", ["a.tmp", "k" * 250])
def test_any_allowed_key_is_read_again(key: str, store: ReadableStore, run_id: str) -> None:
    store.log_param(run_id, key, "1")
    assert store.read_params(run_id) == {key: "1"}


def test_a_key_below_another_is_refused_with_a_sentence(store: ReadableStore, run_id: str) -> None:
    store.log_param(run_id, "a", "1")
    store.log_metric(run_id, "m", MetricPoint(value=1.0, timestamp_ms=1))
    with pytest.raises(TrackingError, match="the parameter `a/b` cannot be written"):
        store.log_param(run_id, "a/b", "1")
    with pytest.raises(TrackingError, match="the metric `m/b` cannot be written"):
        store.log_metric(run_id, "m/b", MetricPoint(value=1.0, timestamp_ms=1))
    with pytest.raises(TrackingError, match="cannot be written"):
        store.log_text(run_id, "x", ".")


def test_a_metric_without_points_has_no_value(store: ReadableStore, run_id: str) -> None:
    (store.find_run_dir(run_id) / "metrics" / "m").touch()
    assert store.read_metrics(run_id) == {}


def test_a_forked_child_does_not_end_its_parents_run(store: ReadableStore) -> None:
    script = (
        "import os, repro\n"
        "with repro.start_run():\n"
        "    if os.fork() == 0: raise SystemExit(3)\n"
        "    os.wait()\n"
        "    repro.log_metric('m', 1, step=2.0, timestamp=5.4)\n"
    )
    environ = {**os.environ, "MLFLOW_TRACKING_URI": str(store.root)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environ)
    run = store.list_runs()[0]
    assert run.status is RunStatus.FINISHED
    assert (store.find_run_dir(run.run_id) / "metrics" / "m").read_text() == "5 1.0 2\n"
