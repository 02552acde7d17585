"""Runs whose runner or script is ended at any moment: nobody goes on working, no run stays RUNNING, no file is half."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Cli

from repro.formats.lockfile import FILE_NAME, parse_snapshot
from repro.formats.run_meta import RunStatus
from repro.tracking.entities import ExperimentQuery, RunQuery
from repro.tracking.file_store import FileStore
from repro.tracking.paging import find_experiments, find_runs

# It starts a process of its own, and that one another, which both do not mind being asked to end.
SCRIPT = """\
import os, pathlib, signal, subprocess, sys, time
import repro
child = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
child += "; own = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)', sys.argv[1]])"
child += "; print(own.pid, flush=True); time.sleep(120)"
process = subprocess.Popen([sys.executable, "-c", child, sys.argv[2]], stdout=subprocess.PIPE)
own = int(process.stdout.readline())
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
for step in range(30):
    repro.log_metric("loss", 1 / (step + 1), step=step)
    repro.log_text("x" * 50000, f"notes/{step}.txt")
    print("step", step, flush=True)
    time.sleep(0.01)
for each in (own, process.pid):
    os.kill(each, signal.SIGKILL)
"""
HALF = """\
import os, pathlib, signal
run = next(pathlib.Path("mlruns").glob("*/" + os.environ["MLFLOW_RUN_ID"]))
for directory in ("artifacts", "tags"):
    (run / directory / ".0123abcd.tmp").write_text("half of it")
(run / "artifacts" / ".0123abcd.tmp.txt").write_text("its own")
os.kill(os.getpid(), signal.SIGKILL)
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def find_processes(word: str) -> list[int]:
    """Return the processes that have a word in their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace").split("\0")
            state = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if word in words and state != "Z":
            found.append(int(name))
    return found


def wait_for(condition: "os.PathLike[str] | None", process: "subprocess.Popen[str]", deadline: float) -> None:
    """Wait until a file is there, a moment has come, or the process has ended."""
    while time.monotonic() < deadline and process.poll() is None:
        if condition is not None and os.path.exists(condition):
            return
        time.sleep(0.002)


def start(cli: Cli, mark: Path) -> "subprocess.Popen[str]":
    return cli.start("run", ".", "-e", "train.py", "-P", f"mark={mark}")


def send(process: "subprocess.Popen[str]", mark: Path, victim: str, number: int) -> None:
    """End the runner, or the script where it has begun by now."""
    if victim == "runner":
        process.send_signal(number)
    elif mark.exists() and mark.read_text():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(mark.read_text()), number)


def check_store(root: Path) -> dict[RunStatus, int]:
    """Read all that the runs have kept, and count how they ended."""
    store = FileStore(root)
    ids = tuple(each.experiment_id for each in find_experiments(store, ExperimentQuery()))
    counted: dict[RunStatus, int] = {}
    for run in find_runs(store, RunQuery(experiment_ids=ids)):
        counted[run.info.status] = counted.get(run.info.status, 0) + 1
        steps = [point.step for point in store.get_metric_history(run.run_id, "loss")]
        assert steps == list(range(len(steps)))
        artifacts = store.open_artifacts(run.run_id)
        for path in artifacts.list_files():
            if path == FILE_NAME:
                parse_snapshot(artifacts.read(path).decode(), where=path)
            if path.startswith("notes/"):
                assert len(artifacts.read(path)) == 50000
    assert [str(path) for path in root.rglob(".*.tmp")] == []
    return counted


def test_a_script_that_is_killed_leaves_nothing_half_written(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(HALF)
    cli("run", ".", "-e", "train.py", code=137)
    assert [path.name for path in Path("mlruns").rglob(".*.tmp*")] == [".0123abcd.tmp.txt"]


@pytest.mark.faults
@pytest.mark.parametrize("total", [9, pytest.param(100, marks=pytest.mark.skipif(
    not os.environ.get("REPRO_TEST_ALL"), reason="REPRO_TEST_ALL is not set: minutes"))])  # fmt: skip
def test_runners_and_scripts_that_are_ended_leave_nobody_and_nothing_half_done(
    total: int, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(project)
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    began = time.monotonic()
    first = tmp_path / "first"
    start(cli, first).communicate(timeout=120)
    whole_s = time.monotonic() - began
    for count in range(total):
        mark = tmp_path / f"mark-{seed}-{count}"
        victim, number = ("runner", "script")[count % 2], SIGNALS[count % 3]
        process = start(cli, mark)
        if victim == "script":  # which must have begun
            wait_for(mark, process, time.monotonic() + 60)
            wait_for(None, process, time.monotonic() + rng.random() * 0.3)
        else:
            wait_for(None, process, time.monotonic() + rng.random() * whole_s)
        send(process, mark, victim, number)
        process.communicate(timeout=60)
        limit = time.monotonic() + 10
        while (left := find_processes(str(mark))) and time.monotonic() < limit:
            time.sleep(0.02)
        assert left == [], f"seed {seed}, kill {count}: {victim} with {number}"
    cli("runs", "reap")
    counted = check_store(project / "mlruns")
    assert RunStatus.RUNNING not in counted
    assert counted.get(RunStatus.KILLED, 0) >= total // 9
