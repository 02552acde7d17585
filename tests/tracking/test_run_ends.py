"""Runs of real scripts that are interrupted, forked, threaded, or started where little is as usual."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from readable_store import ReadableStore
from test_active_run import list_runs, run_script

from repro.formats.run_meta import RunStatus

INTERRUPTED = """\
import signal
import repro.tracking.own_record as own_record
def interrupt(*args, **options): signal.raise_signal({signal})
own_record.start_own_record = interrupt
start_run()
"""


@pytest.fixture
def store(tmp_path: Path) -> ReadableStore:
    return ReadableStore(tmp_path / "mlruns")


@pytest.mark.parametrize("signal", ["signal.SIGINT", "signal.SIGTERM"])
def test_a_run_that_is_interrupted_while_it_starts_is_killed(store: ReadableStore, signal: str) -> None:
    run_script(store, INTERRUPTED.format(signal=signal))
    (run,) = list_runs(store)
    assert run.status is RunStatus.KILLED


def test_an_interrupted_start_leaves_no_active_run(store: ReadableStore) -> None:
    script = INTERRUPTED.format(signal="signal.SIGINT").replace("\nstart_run()", "\ntry: start_run()")
    finished = run_script(store, f"{script}except KeyboardInterrupt: pass\nassert active_run() is None\n")
    assert finished.returncode == 0, finished.stderr


def test_a_signal_in_the_middle_of_a_change_ends_the_process(store: ReadableStore) -> None:
    body = (
        "import signal, repro.tracking.file_store as file_store\n"
        "run, edit = start_run(), file_store.edit_run_meta\n"
        "def interrupt(*args, **options):\n"
        "    file_store.edit_run_meta = edit\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "file_store.edit_run_meta = interrupt\n"
        "set_tag('mlflow.runName', 'other')\n"
    )
    assert run_script(store, body).returncode == -15
    assert [run.status for run in list_runs(store)] == [RunStatus.KILLED]


def test_a_signal_ends_a_process_whose_runs_cannot_be_ended(store: ReadableStore) -> None:
    body = (
        "import shutil, time\n"
        "run = start_run()\n"
        "shutil.rmtree(run.store.root)\n"
        "try: os.kill(os.getpid(), 15); time.sleep(10)\n"
        "except Exception: time.sleep(10)\n"
    )
    assert run_script(store, body).returncode == -15


def test_a_run_that_cannot_be_ended_keeps_no_other_from_it(store: ReadableStore) -> None:
    body = (
        "import shutil\n"
        "start_run(run_name='outer')\n"
        "run = start_run(run_name='within', nested=True)\n"
        "shutil.rmtree(run.store.find_run_dir(run.run_id))\n"
    )
    run_script(store, body)
    assert [(run.run_name, run.status) for run in list_runs(store)] == [("outer", RunStatus.FINISHED)]


def test_a_forked_child_ends_the_runs_that_it_has_started(store: ReadableStore) -> None:
    body = (
        "start_run(run_name='parents')\n"
        "if os.fork() == 0:\n"
        "    start_run(run_name='childs', nested=True)\n"
        "    sys.exit(3)\n"
        "os.wait()\n"
        "print({run.info.run_name: str(run.info.status) for run in search_runs()})\n"
    )
    assert run_script(store, body).stdout.strip() == "{'childs': 'FAILED', 'parents': 'RUNNING'}"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_process_may_log_to_its_parents_run_and_leave(store: ReadableStore, method: str) -> None:
    body = (
        "import multiprocessing\n"
        "from repro.tracking.client import Client\n"
        "def work(run_id):\n"
        "    Client().log_metric(run_id, 'm', 1)\n"
        "    sys.exit(3)\n"
        "if __name__ == '__main__':\n"
        "    with start_run() as run:\n"
        f"        worker = multiprocessing.get_context({method!r}).Process(target=work, args=(run.run_id,))\n"
        "        worker.start(); worker.join()\n"
        "        assert worker.exitcode == 3\n"
    )
    finished = run_script(store, body)
    assert finished.returncode == 0, finished.stderr
    (run,) = list_runs(store)
    assert run.status is RunStatus.FINISHED
    assert store.read_metrics(run.run_id) == {"m": 1.0}


def test_an_executors_worker_may_be_left_by_exit(store: ReadableStore) -> None:
    body = (
        "import multiprocessing\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "def leave(): sys.exit(3)\n"
        "start_run()\n"
        "with ProcessPoolExecutor(1, multiprocessing.get_context('fork')) as pool:\n"
        "    error = pool.submit(leave).exception()\n"
        "assert type(error) is SystemExit and error.code == 3, repr(error)\n"
    )
    finished = run_script(store, body)
    assert finished.returncode == 0, finished.stderr


def test_threads_that_log_at_once_start_one_run(store: ReadableStore) -> None:
    body = (
        "import threading\n"
        "ready = threading.Barrier(8)\n"
        "def work(number): ready.wait(); log_metric(f'm{number}', 1)\n"
        "threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
    )
    run_script(store, body)
    (run,) = list_runs(store)
    assert len(store.read_metrics(run.run_id)) == 8


def test_a_run_that_another_thread_has_ended_is_no_longer_active(store: ReadableStore) -> None:
    body = (
        "import threading\n"
        "start_run(run_name='a')\n"
        "thread = threading.Thread(target=end_run); thread.start(); thread.join()\n"
        "assert active_run() is None\n"
        "start_run(run_name='b')\n"
    )
    finished = run_script(store, body)
    assert finished.returncode == 0, finished.stderr
    assert [run.status for run in list_runs(store)] == [RunStatus.FINISHED, RunStatus.FINISHED]


@pytest.mark.parametrize("setting", ["sys.argv = []", "del sys.argv", "sys.argv = ['']", "sys.argv = ['-c']"])
def test_a_run_needs_no_script(store: ReadableStore, setting: str) -> None:
    finished = run_script(store, f"{setting}\nwith start_run(): pass")
    assert finished.returncode == 0, finished.stderr
    (run,) = list_runs(store)
    assert store.read_tags(run.run_id)["mlflow.source.name"] == "<console>"


def test_the_code_of_a_launcher_is_that_of_the_working_directory(store: ReadableStore) -> None:
    project = store.root.parent
    git = ["git", "-C", str(project), "-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    run_script(store, "sys.argv = [os.path.join(sys.prefix, 'bin', 'python')]\nwith start_run(): pass")
    (run,) = list_runs(store)
    assert len(store.read_tags(run.run_id)["mlflow.source.git.commit"]) == 40


def test_runs_go_on_without_git(store: ReadableStore, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    finished = run_script(store, "with start_run(): pass", PATH=str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    (run,) = list_runs(store)
    assert run.status is RunStatus.FINISHED


def test_an_active_run_cannot_be_deleted_behind_a_nested_one(store: ReadableStore) -> None:
    body = (
        "outer = start_run()\n"
        "start_run(nested=True)\n"
        "try: delete_run(outer.run_id)\n"
        "except Exception as error: print(error.message)\n"
    )
    assert "is active and cannot be deleted" in run_script(store, body).stdout


def test_processes_that_set_an_experiment_at_once_share_it(store: ReadableStore) -> None:
    body = (
        "import time\n"
        "while time.time() < float(os.environ['AT']): pass\n"
        "for number in range(5): set_experiment(f'wine {number}')\n"
        "start_run(); end_run()\n"
    )
    store.root.parent.mkdir(exist_ok=True)
    (store.root.parent / "script.py").write_text(
        "import sys, os\nfrom repro.tracking.active_experiment import *\nfrom repro.tracking.active_run import *\n"
        + body
    )
    variables = {**os.environ, "MLFLOW_TRACKING_URI": store.uri, "REPRO_SNAPSHOT": "0"}
    variables["AT"] = str(time.time() + 2)
    started = [
        subprocess.Popen([sys.executable, str(store.root.parent / "script.py")], env=variables, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * 4, errors


def test_another_store_has_no_experiment_of_the_one_before(store: ReadableStore) -> None:
    body = (
        "set_experiment('wine')\n"
        "set_tracking_uri('other')\n"
        "os.mkdir('sub'); os.chdir('sub')\n"
        "assert get_tracking_uri() == os.environ['MLFLOW_TRACKING_URI']\n"
        "assert start_run().info.experiment_id == '0'\n"
        "print(os.path.isdir('../other/0'), os.environ.get('MLFLOW_EXPERIMENT_ID'))\n"
    )
    finished = run_script(store, body)
    assert finished.stdout.strip() == "True None", finished.stderr


def test_an_experiment_that_is_set_wins_over_the_name_in_the_environment_also_in_children(
    store: ReadableStore,
) -> None:
    body = (
        "import subprocess\n"
        "wanted = set_experiment('beer').experiment_id\n"
        "code = 'from repro.tracking.active_run import *; print(start_run().info.experiment_id)'\n"
        "made = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)\n"
        "assert made.stdout.strip() == wanted, made.stderr\n"
    )
    finished = run_script(store, body, MLFLOW_EXPERIMENT_NAME="wine")
    assert finished.returncode == 0, finished.stderr
