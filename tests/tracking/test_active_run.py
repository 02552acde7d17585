from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from readable_store import ReadableStore

from repro.formats.run_meta import RunInfo, RunStatus
from repro.tracking.entities import RunQuery

IMPORTS = (
    "import sys, os\n"
    "from repro.tracking.active_experiment import *\n"
    "from repro.tracking.active_run import *\n"
    "from repro.tracking.fluent import *\n"
)


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
        ("start_run(); sys.exit(3)", "FAILED", 3),
        ("start_run(); sys.exit('no')", "FAILED", 1),
        ("start_run(); sys.exit()", "FINISHED", 0),
        ("start_run()\ntry: sys.exit(3)\nexcept SystemExit as error: assert error.code == 3", "FINISHED", 0),
        ("start_run(); raise KeyboardInterrupt", "KILLED", -2),
        ("import signal\nstart_run(); signal.raise_signal(signal.SIGINT)", "KILLED", -2),
        ("start_run(); os.kill(os.getpid(), 15)", "KILLED", -15),
        ("with start_run(): os.kill(os.getpid(), 15)", "KILLED", -15),
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
    run_script(store, body, MLFLOW_RUN_ID=run.run_id, REPRO_RUN=run.run_id)
    assert [each.run_id for each in list_runs(store)] == [run.run_id]
    assert store.read_metrics(run.run_id) == {"m": 1.0}
    assert store.get_info(run.run_id).status is RunStatus[status]


def test_the_runners_run_is_resumed_once(store: ReadableStore) -> None:
    run = store.get_info(store.start(name="a"))
    body = "with start_run(): pass\nwith start_run(run_name='b'): pass"
    assert run_script(store, body, MLFLOW_RUN_ID=run.run_id, REPRO_RUN=run.run_id).returncode == 0
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


def test_a_signal_that_the_script_handles_is_its_own(store: ReadableStore) -> None:
    body = "import signal\nsignal.signal(15, lambda *_: print('mine'))\nstart_run(); os.kill(os.getpid(), 15)"
    assert run_script(store, body).stdout == "mine\n"
    assert list_runs(store)[0].status is RunStatus.FINISHED


def test_what_watched_the_end_before_is_still_asked(store: ReadableStore) -> None:
    body = "sys.excepthook = lambda *_: print('mine')\nstart_run(); raise ValueError"
    assert run_script(store, body).stdout == "mine\n"
    assert list_runs(store)[0].status is RunStatus.FAILED


def test_a_thread_logs_to_the_run_of_the_process_and_may_start_runs_of_its_own(store: ReadableStore) -> None:
    body = (
        "import threading\n"
        "with start_run(run_name='main') as main:\n"
        "    def work(number):\n"
        "        log_metric('shared', number)\n"
        "        with start_run(run_name=f'part {number}', nested=True):\n"
        "            log_metric('own', number)\n"
        "        assert active_run() is main\n"
        "    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]\n"
        "    [thread.start() for thread in threads]\n"
        "    [thread.join() for thread in threads]\n"
        "    assert active_run() is main\n"
    )
    finished = run_script(store, body, REPRO_SNAPSHOT="0")
    assert finished.returncode == 0, finished.stderr
    main, *parts = list_runs(store)
    assert len(store.get_metric_history(main.run_id, "shared")) == 4
    assert [store.read_metrics(part.run_id) for part in parts] == [{"own": float(number)} for number in range(4)]
    assert {store.read_tags(part.run_id)["mlflow.parentRunId"] for part in parts} == {main.run_id}
    assert {run.status for run in (main, *parts)} == {RunStatus.FINISHED}


def test_a_run_says_which_process_it_lives_in(store: ReadableStore) -> None:
    finished = run_script(store, "start_run()\nprint(os.getpid())")
    mark = json.loads(store.read_tags(list_runs(store)[0].run_id)["repro.process"])
    assert mark["pid"] == int(finished.stdout)
    assert mark["started"] > 0


def test_variables_name_the_experiment_and_tags_of_every_run(store: ReadableStore) -> None:
    body = "start_run(description='**why**')"
    finished = run_script(store, body, MLFLOW_EXPERIMENT_NAME="wine", MLFLOW_RUN_CONTEXT='{"team": "x", "n": 1}')
    assert finished.returncode == 0, finished.stderr
    experiment = store.find_experiment("wine")
    assert experiment
    (run,) = store.search_runs(RunQuery(experiment_ids=(experiment.experiment_id,)))
    assert {"team": "x", "n": "1", "mlflow.note.content": "**why**"}.items() <= run.data.tags.items()
    refused = run_script(store, body, MLFLOW_EXPERIMENT_NAME="wine", MLFLOW_EXPERIMENT_ID="0")
    assert "TrackingError: MLFLOW_EXPERIMENT_ID is `0`, and MLFLOW_EXPERIMENT_NAME `wine` is" in refused.stderr


def test_an_experiment_that_is_set_holds_for_new_runs_and_children(store: ReadableStore) -> None:
    body = (
        "import subprocess\n"
        "experiment = set_experiment('wine')\n"
        "assert set_experiment(experiment_id=experiment.experiment_id) == experiment\n"
        "assert find_active_experiment_id() == os.environ['MLFLOW_EXPERIMENT_ID'] == experiment.experiment_id\n"
        "with start_run() as run: assert run.info.experiment_id == experiment.experiment_id\n"
        "assert [each.run_id for each in search_runs()] == [run.run_id]\n"
        "assert last_active_run().info.status == 'FINISHED'\n"
        "for wrong in (dict(), dict(experiment_name='a', experiment_id='0')):\n"
        "    try: set_experiment(**wrong)\n"
        "    except Exception as error: assert 'by its name or by its id' in str(error)\n"
        "    else: raise AssertionError\n"
    )
    finished = run_script(store, body, REPRO_SNAPSHOT="0")
    assert finished.returncode == 0, finished.stderr


def test_another_store_can_be_set(store: ReadableStore, tmp_path: Path) -> None:
    body = (
        f"set_tracking_uri({str(tmp_path / 'elsewhere')!r})\n"
        f"assert get_tracking_uri() == os.environ['MLFLOW_TRACKING_URI'] == {(tmp_path / 'elsewhere').as_uri()!r}\n"
        "start_run(run_name='there')\n"
    )
    finished = run_script(store, body, REPRO_SNAPSHOT="0")
    assert finished.returncode == 0, finished.stderr
    assert [run.run_name for run in ReadableStore(tmp_path / "elsewhere").list_runs()] == ["there"]


def test_children_get_a_servers_uri_as_it_was_given_and_nobody_is_shown_its_password(store: ReadableStore) -> None:
    body = (
        "set_tracking_uri('http://ada:lovelace@127.0.0.1:9')\n"
        "assert os.environ['MLFLOW_TRACKING_URI'] == 'http://ada:lovelace@127.0.0.1:9'\n"
        "assert get_tracking_uri() == 'http://127.0.0.1:9'\n"
    )
    finished = run_script(store, body, REPRO_SNAPSHOT="0")
    assert finished.returncode == 0, finished.stderr


def test_observers_see_what_is_logged_and_their_errors_do_not_matter(store: ReadableStore) -> None:
    body = (
        "from repro.tracking.observers import register_observer\n"
        "seen = []\n"
        "class Observer:\n"
        "    def register_tracking_event(self, event, data): seen.append((event, data.get('key')))\n"
        "register_observer(Observer())\n"
        "register_observer(lambda event, data: 1 / 0)\n"
        "with start_run():\n"
        "    log_param('p', 1); log_metric('m', 2); set_tag('t', 3); delete_tag('t'); log_batch({'n': 1})\n"
        "print(seen)\n"
    )
    finished = run_script(store, body, REPRO_SNAPSHOT="0")
    assert finished.stdout.strip() == str(
        [("create_run", None), ("active_run_id", None), ("log_param", "p"), ("log_metric", "m"), ("set_tag", "t"),
         ("delete_tag", "t"), ("log_batch", None), ("set_terminated", None)]
    )  # fmt: skip


def test_many_processes_append_to_one_run_and_nothing_that_returned_is_lost(store: ReadableStore) -> None:
    """Each writes to one metric of all and one of its own, says what returned, and half of them are killed."""
    run_id = store.start()
    body = (
        "from repro.tracking.client import Client\n"
        "client, name = Client(), sys.argv[1]\n"
        "for step in range(int(sys.argv[2])):\n"
        "    client.log_metric(os.environ['THE_RUN'], 'all', step, step=int(name))\n"
        "    client.log_metric(os.environ['THE_RUN'], name, step, step=step)\n"
        "    os.write(1, b'.')\n"
    )
    (store.root.parent / "script.py").write_text(IMPORTS + body)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": store.uri, "THE_RUN": run_id}
    processes = [
        subprocess.Popen(
            [sys.executable, "script.py", str(name), "1000000" if name % 2 else "5000"],
            cwd=store.root.parent, env=environ, stdout=subprocess.PIPE,
        )
        for name in range(8)
    ]  # fmt: skip
    returned = []
    for number, process in enumerate(processes):
        with process:
            assert process.stdout
            count = 0
            if number % 2:
                count = len(process.stdout.read(random.randrange(200, 4000)))
                process.kill()
            returned.append(count + len(process.stdout.read()))
    shared = Counter(point.step for point in store.get_metric_history(run_id, "all"))
    for name, count in enumerate(returned):
        steps = [point.step for point in store.get_metric_history(run_id, str(name))]
        assert steps == list(range(len(steps)))
        assert count <= len(steps) <= count + 1
        assert count <= shared[name] <= count + 1
    assert all(count == 5000 for count in returned[::2])
    assert all(count < 1_000_000 for count in returned[1::2])
