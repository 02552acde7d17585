"""Runs that a script starts itself, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro.formats.run_meta import RunStatus
from repro.tracking.file_store import FileStore


def run_script(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )


def get_statuses() -> list[RunStatus]:
    return [run.status for run in FileStore(Path("mlruns")).list_runs("0")]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("import repro\nwith repro.start_run(): pass", RunStatus.FINISHED),
        ("import repro\nrepro.start_run()", RunStatus.FINISHED),
        ("import repro\nrepro.log_metric('m', 1)", RunStatus.FINISHED),
        ("import repro\nrepro.start_run()\nraise ValueError", RunStatus.FAILED),
        ("import repro\nwith repro.start_run(): raise ValueError", RunStatus.FAILED),
        ("import repro, sys\nwith repro.start_run(): sys.exit(3)", RunStatus.FAILED),
        ("import repro, sys\nwith repro.start_run(): sys.exit()", RunStatus.FINISHED),
        ("import repro\nwith repro.start_run(): raise KeyboardInterrupt", RunStatus.KILLED),
        ("import repro\nrepro.start_run(); repro.end_run('KILLED')", RunStatus.KILLED),
    ],
)
def test_the_status_is_true_however_a_script_ends(script: str, status: RunStatus) -> None:
    run_script(script)
    assert get_statuses() == [status]


def test_a_second_run_while_one_is_active_names_it_unless_nested() -> None:
    done = run_script("import repro\nrun = repro.start_run()\nprint(run.run_id)\nrepro.start_run()")
    assert f"the run `{done.stdout.strip()}` is active" in done.stderr
    nested = (
        "import repro\nwith repro.start_run() as a, repro.start_run(nested=True) as b:\n"
        "    print(b.store.read_tags(b.run_id)['mlflow.parentRunId'] == a.run_id)"
    )
    assert run_script(nested).stdout == "True\n"


def test_a_runs_script_resumes_it_once_and_leaves_its_status_to_the_runner() -> None:
    store = FileStore(Path("mlruns"))
    info = store.create_run(experiment_id="0", run_name="given", user="me", start_time_ms=1, tags={})
    script = (
        "import repro\nwith repro.start_run() as run: repro.log_param('a', 1)\n"
        "print(run.run_id)\nwith repro.start_run() as other: print(other.run_id == run.run_id)"
    )
    done = run_script(script, MLFLOW_RUN_ID=info.run_id, MLFLOW_TRACKING_URI=store.uri)
    assert done.stdout.split() == [info.run_id, "False"]
    assert store.get_run(info.run_id).status is RunStatus.RUNNING
    assert store.read_params(info.run_id) == {"a": "1"}


def test_a_failure_of_a_resumed_run_is_written() -> None:
    store = FileStore(Path("mlruns"))
    info = store.create_run(experiment_id="0", run_name=None, user="me", start_time_ms=1, tags={})
    run_script("import repro\nwith repro.start_run(): 1 / 0", MLFLOW_RUN_ID=info.run_id)
    assert store.get_run(info.run_id).status is RunStatus.FAILED
