from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.formats.run_meta import RunInfo, RunStatus

IMPORTS = "import sys, os\nfrom repro.tracking.active_run import *\nfrom repro.tracking.active_run import _stack\n"


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    return ReadableStore(tmp_path / "mlruns")


def run_script(store: ReadableStore, body: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a real script, as its own process, beside the store."""
    store.root.parent.mkdir(exist_ok=True)
    (store.root.parent / "script.py").write_text(IMPORTS + body)
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=store.root.parent,
        env={**os.environ, "MLFLOW_TRACKING_URI": store.uri, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def list_runs(store: ReadableStore) -> list[RunInfo]:
    return sorted(store.list_runs(), key=lambda run: run.run_name)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("log_metric('m', 1)", "FINISHED", 0),
        ("start_run(); raise ValueError('no')", "FAILED", 1),
        ("start_run()\nend_run('KILLED')", "KILLED", 0),
        ("with start_run(): pass", "FINISHED", 0),
        ("with start_run(): raise ValueError('no')", "FAILED", 1),
        ("with start_run(): sys.exit(0)", "FINISHED", 0),
        ("with start_run(): sys.exit(3)", "FAILED", 3),
        ("from repro.errors import Terminated\nwith start_run(): raise Terminated", "KILLED", 1),
        ("try:\n  with start_run(): raise KeyboardInterrupt\nexcept KeyboardInterrupt: pass", "KILLED", 0),
        ("with start_run(): end_run('FAILED')", "FAILED", 0),
    ],
)
def test_a_run_of_the_scripts_own_ends_as_the_script_does(
    store: ReadableStore, body: str, status: str, code: int
) -> None:
    finished = run_script(store, body)
    assert finished.returncode == code, finished.stderr
    (run,) = list_runs(store)
    assert run.status is RunStatus[status]
    assert run.end_time_ms is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("log_metric('m', 1)", "RUNNING"),
        ("with start_run(): log_metric('m', 1)", "RUNNING"),
        ("with start_run(): log_metric('m', 1); raise ValueError", "FAILED"),
        ("log_metric('m', 1); end_run('KILLED')", "KILLED"),
    ],
)
def test_a_run_of_the_runners_is_resumed_and_never_finished(store: ReadableStore, body: str, status: str) -> None:
    run = store.get_info(store.start())
    run_script(store, body, MLFLOW_RUN_ID=run.run_id)
    assert [each.run_id for each in list_runs(store)] == [run.run_id]
    assert store.read_metrics(run.run_id) == {"m": 1.0}
    assert store.get_info(run.run_id).status is RunStatus[status]


def test_the_runners_run_is_resumed_once(store: ReadableStore) -> None:
    run = store.get_info(store.start(name="a"))
    body = "with start_run(): pass\nassert 'MLFLOW_RUN_ID' not in os.environ\nwith start_run(run_name='b'): pass"
    assert run_script(store, body, MLFLOW_RUN_ID=run.run_id).returncode == 0
    assert [(each.run_name, each.status.name) for each in list_runs(store)] == [("a", "RUNNING"), ("b", "FINISHED")]


def test_a_run_can_be_resumed_by_its_id(store: ReadableStore) -> None:
    run = store.get_info(store.start(name="a"))
    store.update_run(run.run_id, status=RunStatus.FAILED, end_time_ms=2)
    run_script(store, f"start_run('{run.run_id}')\nlog_param('p', 1)")
    assert store.get_info(run.run_id).status is RunStatus.FINISHED
    assert store.read_params(run.run_id) == {"p": "1"}


def test_a_second_run_has_to_be_nested(store: ReadableStore) -> None:
    finished = run_script(store, "run = start_run()\nprint(run.run_id)\nstart_run()")
    run_id = finished.stdout.strip()
    assert f"TrackingError: the run `{run_id}` is active" in finished.stderr
    assert store.get_info(run_id).status is RunStatus.FAILED


def test_nested_runs_end_to_their_parent(store: ReadableStore) -> None:
    body = (
        "with start_run(run_name='outer') as outer:\n"
        "    with start_run(run_name='within', nested=True): log_metric('m', 2)\n"
        "    assert active_run() is outer\n"
        "    log_metric('m', 1)\n"
        "assert active_run() is None\n"
    )
    finished = run_script(store, body)
    assert finished.returncode == 0, finished.stderr
    outer, within = list_runs(store)
    assert store.read_metrics(outer.run_id) == {"m": 1.0}
    assert store.read_metrics(within.run_id) == {"m": 2.0}
    assert store.read_tags(within.run_id)["mlflow.parentRunId"] == outer.run_id


def test_a_nested_run_left_open_ends_with_its_parent(store: ReadableStore) -> None:
    run_script(store, "with start_run(run_name='outer'): start_run(run_name='within', nested=True)")
    assert [run.status for run in list_runs(store)] == [RunStatus.FINISHED, RunStatus.FINISHED]


def test_a_forked_child_leaves_its_parents_run_alone(store: ReadableStore) -> None:
    body = (
        "run = start_run()\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(run.store.get_info(run.run_id).status.name)\n"
    )
    assert run_script(store, body).stdout.strip() == "RUNNING"


def test_values_tags_and_artifacts_land_in_the_run(store: ReadableStore) -> None:
    body = (
        "start_run(tags={'team': 'x'})\n"
        "assert log_param('p', 0.5) == 0.5\n"
        "log_params({'q': True, 'r': None})\n"
        "assert log_metric('m', 2, step=3, timestamp=4) == 2\n"
        "log_metrics({'n': float('inf')})\n"
        "set_tag('a', 1)\n"
        "set_tags({'b': 'c'})\n"
        "log_text('hello', 'n.txt')\n"
        "log_artifact('script.py', 'code')\n"
    )
    finished = run_script(store, body)
    assert finished.returncode == 0, finished.stderr
    (run,) = list_runs(store)
    assert store.read_params(run.run_id) == {"p": "0.5", "q": "True", "r": "None"}
    assert store.read_metrics(run.run_id) == {"m": 2.0, "n": float("inf")}
    assert (store.find_run_dir(run.run_id) / "metrics" / "m").read_text() == "4 2.0 3\n"
    assert store.list_files(run.run_id) == [
        "code/script.py", "environment.json", "n.txt", "requirements-lock.txt"
    ]  # fmt: skip
    tags = store.read_tags(run.run_id)
    expected = {"team": "x", "a": "1", "b": "c", "mlflow.source.type": "LOCAL", "mlflow.source.name": "script.py"}
    assert {key: tags[key] for key in expected} == expected


def test_logging_imports_nothing_of_the_manager(store: ReadableStore) -> None:
    heavy = "{'filelock', 'rich', 'packaging', 'piptools', 'virtualenv', 'python_discovery', 'uv', 'repro.cli'}"
    finished = run_script(store, f"log_metric('m', 1); end_run()\nprint(sorted({heavy} & set(sys.modules)))")
    assert finished.stdout.strip() == "[]"


def test_without_its_snapshot_logging_imports_next_to_nothing(store: ReadableStore) -> None:
    heavy = "{'subprocess', 'repro.environments', 'repro.snapshots'}"
    body = f"log_metric('m', 1); end_run()\nprint(sorted({heavy} & set(sys.modules)))"
    assert run_script(store, body, REPRO_SNAPSHOT="0").stdout.strip() == "[]"
    assert store.list_files(list_runs(store)[0].run_id) == []


def test_the_commit_of_the_script_is_a_tag(store: ReadableStore) -> None:
    store.root.parent.mkdir(exist_ok=True)
    git = ["git", "-C", str(store.root.parent), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for args in (["init", "-q", "-b", "trunk"], ["commit", "-q", "--allow-empty", "-m", "x"],
                 ["remote", "add", "origin", "https://me:secret@example.org/x.git"]):  # fmt: skip
        subprocess.run([*git, *args], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    run_script(store, "start_run()")
    tags = store.read_tags(list_runs(store)[0].run_id)
    assert {key: value for key, value in tags.items() if ".git." in key} == {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": "trunk",
        "mlflow.source.git.dirty": "false",
        "mlflow.source.git.repoURL": "https://example.org/x.git",
    }
