"""Hold runs that go on beside their caller."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from readable_store import ReadableStore
from test_sweep import is_alive, wait_for_end, wait_for_file

import repro
from repro.errors import ReproError
from repro.formats.run_meta import RunStatus

SCRIPT = """\
import os, sys, time
name = sys.argv[2]
open(name + ".new", "w").write(str(os.getpid()))
os.rename(name + ".new", name)
while not os.path.exists("go-" + name):
    time.sleep(0.02)
"""
CALLER = """\
import os, signal, sys, time, repro
for name in ("one", "two"):
    repro.run(sys.argv[1], "main.py", parameters={"name": name}, synchronous=False, snapshot=False, cache=sys.argv[2])
while not os.path.exists(sys.argv[1] + "/one") or not os.path.exists(sys.argv[1] + "/two"):
    time.sleep(0.02)
if sys.argv[3] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def project() -> Path:
    path = Path("project").absolute()
    path.mkdir()
    (path / "main.py").write_text(SCRIPT)
    return path


def test_several_runs_go_on_at_once_and_each_is_waited_for_or_cancelled(project: Path, tmp_path: Path) -> None:
    settled = {"synchronous": False, "snapshot": False, "cache": tmp_path / "cache"}
    first, second = (
        repro.run(project, "main.py", parameters={"name": name}, **settled)
        for name in ("one", "two")  # type: ignore[arg-type]
    )
    pid = wait_for_file(project / "two")
    assert (first.status, second.status) == (RunStatus.RUNNING, RunStatus.RUNNING)
    with pytest.raises(TimeoutError, match="has not ended"):
        first.wait(0.01)  # type: ignore[union-attr]
    second.cancel()  # type: ignore[union-attr]
    assert not is_alive(pid)
    assert second.status is RunStatus.KILLED
    with pytest.raises(ReproError, match="was cancelled"):
        second.wait()  # type: ignore[union-attr]
    (project / "go-one").touch()
    result = first.wait()  # type: ignore[union-attr]
    assert (result.run_id, result.status, first.status) == (first.run_id, RunStatus.FINISHED, RunStatus.FINISHED)
    assert ReadableStore(Path("mlruns")).get_info(second.run_id).status is RunStatus.KILLED


def test_what_is_wrong_before_the_run_exists_is_raised_at_once(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match=r"nothing\.py"):
        repro.run(project, "nothing.py", synchronous=False, cache=tmp_path / "cache")


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_no_run_outlives_its_caller(end: str, project: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CALLER, str(project), str(tmp_path / "cache"), end]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    wait_for_end(*(wait_for_file(project / name) for name in ("one", "two")))
    store = ReadableStore(Path("mlruns"))
    deadline = time.monotonic() + 10
    while any(run.status is RunStatus.RUNNING for run in store.list_runs()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [run.status for run in store.list_runs()] == [RunStatus.KILLED] * 2
