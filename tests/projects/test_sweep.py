"""Sweeps of a real script, with real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, make_wheel
from readable_store import ReadableStore
from repositories import commit, make_work, run_git

import repro
from repro.formats.run_meta import RunStatus
from repro.tracking.reap import reap_runs
from repro.tracking.server import serve_in_background

SCRIPT = """\
import os, sys, time, repro
x, mode = repro.param("x", "1"), repro.param("mode", "ok")
repro.log_metric("loss", abs(float(x) - 2.1))
print("seen", sys.argv[1:])
if mode == "wait" or (x == "2" and os.path.exists("hang")):
    open(f"pid-{x}.new", "w").write(str(os.getpid()))
    os.rename(f"pid-{x}.new", f"pid-{x}")
    time.sleep(100)
sys.exit(3 if x == "3" and not os.path.exists("mended") else 0)
"""


@pytest.fixture
def project() -> Path:
    """A project that is run in the tests' own environment, without a snapshot."""
    path = Path("project").absolute()
    path.mkdir()
    (path / "train.py").write_text(SCRIPT)
    return path


def get_store() -> ReadableStore:
    return ReadableStore(Path("mlruns"))


def sweep_json(cli: Cli, *args: str, code: int = 0) -> dict[str, object]:
    return dict(json.loads(cli("sweep", *args, "--no-snapshot", "--json", code=code).stdout))


def list_children(parent: str) -> dict[str, list[RunStatus]]:
    """Return the statuses of a sweep's runs, by the value of `x`."""
    store = get_store()
    found: dict[str, list[RunStatus]] = {}
    for info in store.list_runs():
        if store.read_tags(info.run_id).get("mlflow.parentRunId") == parent:
            found.setdefault(store.read_params(info.run_id)["x"], []).append(info.status)
    return found


def wait_for_file(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(*pids: int) -> None:
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sweep_runs_each_point_once_and_again_only_what_has_not_finished(project: Path, cli: Cli) -> None:
    words = (str(project), "-e", "train.py", "-P", "x=range(1,4)", "-P", "mode='a,b'", "-j", "2")
    result = sweep_json(cli, *words, "--metric", "loss", "--goal", "min", code=1)
    assert (result["status"], result["finished"], result["failed"], result["total"]) == ("FAILED", 2, 1, 3)
    parent, points, best = str(result["run_id"]), result["points"], result["best"]
    assert isinstance(points, list)
    assert isinstance(best, dict)
    assert [each["exit_code"] for each in points] == [0, 0, 3]
    assert best["parameters"] == {"x": "2", "mode": "a,b"}
    store = get_store()
    assert store.read_params(parent) == {"x": "range(1,4)", "mode": "'a,b'"}
    assert store.read_tags(parent)["repro.sweep.best_run_id"] == best["run_id"]
    assert store.read_metrics(parent)["loss"] == pytest.approx(0.1)
    assert store.read_text(points[0]["run_id"], "output.log") == "seen ['--x', '1', '--mode', 'a,b']\n"
    (project / "mended").touch()
    again = sweep_json(cli, *words)
    assert again["run_id"] == parent
    assert [each["was_done"] for each in again["points"]] == [True, True, False]  # type: ignore[attr-defined]
    assert again["best"]["run_id"] == best["run_id"]  # type: ignore[index]
    finished, failed = RunStatus.FINISHED, RunStatus.FAILED
    assert {x: sorted(each) for x, each in list_children(parent).items()} == {
        "1": [finished], "2": [finished], "3": [failed, finished],
    }  # fmt: skip
    assert store.get_info(parent).status is finished
    assert "`--new` begins another" in cli("sweep", *words, "--no-snapshot").stderr
    assert "3 of 3 points are done" in cli("sweep", "--resume", parent).stderr
    assert sum(map(len, list_children(parent).values())) == 4
    assert f"`repro sweep --resume {parent}`" in cli("run", parent, code=2).stderr
    assert sweep_json(cli, *words, "--new")["run_id"] != parent


def test_fail_fast_ends_the_others(project: Path, cli: Cli) -> None:
    (project / "hang").touch()
    result = sweep_json(cli, str(project), "-e", "train.py", "-P", "x=2,3,4", "-j", "2", "--fail-fast", code=1)
    assert [each["status"] for each in result["points"]] == ["KILLED", "FAILED"]  # type: ignore[attr-defined]
    assert list_children(str(result["run_id"])) == {"2": [RunStatus.KILLED], "3": [RunStatus.FAILED]}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_says_killed_with_its_points_and_can_be_resumed(
    number: int, code: int, project: Path, cli: Cli
) -> None:
    (project / "hang").touch()
    words = ("sweep", str(project), "-e", "train.py", "-P", "x=2,1", "--no-snapshot")
    process = cli.start(*words, "-j", "2")
    pid = wait_for_file(project / "pid-2")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    wait_for_end(pid)
    store = get_store()
    parent = next(run.run_id for run in store.list_runs() if "repro.sweep.key" in store.read_tags(run.run_id))
    assert store.get_info(parent).status is RunStatus.KILLED
    assert list_children(parent)["2"] == [RunStatus.KILLED]
    (project / "hang").unlink()
    assert sweep_json(cli, "--resume", parent)["status"] == "FINISHED"


def test_a_killed_sweep_leaves_no_process_and_is_reaped(project: Path, cli: Cli) -> None:
    process = cli.start(
        "sweep", str(project), "-e", "train.py", "-P", "x=1,2", "-P", "mode=wait", "-j2", "--no-snapshot"
    )
    pids = [wait_for_file(project / f"pid-{x}") for x in "12"]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for_end(*pids)
    assert len(reap_runs(get_store(), now_ms=3)) == 3
    assert {run.status for run in get_store().list_runs()} == {RunStatus.KILLED}


def test_what_a_killed_sweep_has_left_is_reaped_when_it_is_resumed(project: Path, cli: Cli) -> None:
    (project / "hang").touch()
    process = cli.start("sweep", str(project), "-e", "train.py", "-P", "x=2", "--no-snapshot")
    pid = wait_for_file(project / "pid-2")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for_end(pid)
    store = get_store()
    tags = {run.run_id: store.read_tags(run.run_id) for run in store.list_runs()}
    (child,) = (run_id for run_id, each in tags.items() if "mlflow.parentRunId" in each)
    half = store.find_run_dir(child) / "params" / ".0123abcd.tmp"
    half.write_text("2")
    (project / "hang").unlink()
    parent = tags[child]["mlflow.parentRunId"]
    assert sweep_json(cli, "--resume", parent[:6])["status"] == "FINISHED"
    left = store.get_run(child)
    signs = [left.info.start_time_ms, *(point.timestamp_ms for point in left.data.points.values())]
    assert (left.info.status, left.info.end_time_ms) == (RunStatus.KILLED, max(signs))
    assert left.data.tags["repro.reaped"] == "its process is gone"
    assert not half.exists()
    missing = "abcdef" if not parent.startswith("abcdef") else "fedcba"
    assert f"begins with `{missing}`" in cli("sweep", "--resume", missing, code=5).stderr
    assert "`xyz` is no run's id" in cli("sweep", "--resume", "xyz", code=2).stderr


def test_a_sweep_that_is_running_is_not_run_again(project: Path, cli: Cli) -> None:
    words = ("sweep", str(project), "-e", "train.py", "-P", "x=1", "-P", "mode=wait", "--no-snapshot")
    process = cli.start(*words)
    wait_for_file(project / "pid-1")
    assert f"is running, in process {process.pid}" in cli(*words, code=2).stderr
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-P", "x=uniform(0,1)"), "`x` has no end of values"),
        (("-P", "x=range(1)"), "two or three integers"),
        (("-P", "x=1", "-j", "0"), "`0` points at a time"),
        (("-P", "x=1", "--metric", "loss"), "a metric and a goal"),
        (("-P", "x=1", "--seed", "1"), "`--seed` is for a sample"),
        (("-P", "x=1", "--backend", "lokal"), "did you mean `local`?"),
        (("--resume", "0" * 32), "asks for other things"),
    ],
)
def test_what_cannot_be_swept_is_said_before_a_run_exists(
    words: tuple[str, ...], message: str, project: Path, cli: Cli
) -> None:
    assert message in cli("sweep", str(project), "-e", "train.py", *words, code=2).stderr
    assert not Path("mlruns").exists()


def test_python_sweeps_lists_ranges_and_samples(project: Path, tmp_path: Path) -> None:
    settled = {"cache": tmp_path / "cache", "snapshot": False, "observe": False, "experiment": "tuning"}
    parameters = {"x": range(1, 3), "mode": ["a,b"]}
    done = repro.sweep(project, "train.py", parameters=parameters, metric="loss", goal="max", **settled)  # type: ignore[arg-type]
    assert (done.exit_code, done.best and done.best.parameters) == (0, {"x": "1", "mode": "a,b"})
    drawn = repro.sweep(project, "train.py", parameters={"x": "uniform(0,1)"}, sample=2, seed=1, **settled)  # type: ignore[arg-type]
    assert [each.parameters["x"] for each in drawn.points] == ["0.134364244112", "0.847433736937"]
    assert get_store().get_experiment(drawn.experiment_id).name == "tuning"


ELSEWHERE = """\
import sys, repro, alpha
repro.log_metric("loss", float(repro.param("x", "1")))
print(alpha.VERSION, sys.argv[2])
"""


@pytest.fixture
def repository(tmp_path: Path, git_config: Path, index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a project that asks for alpha, which our own environment has not."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)
    work = make_work(tmp_path / "wine")
    (work / "part").mkdir()
    (work / "part" / "requirements.txt").write_text("alpha\n")
    commit(work, "one", part__train_py=ELSEWHERE)
    return work


def test_a_sweep_of_a_commit_is_restored_once_and_resumed_at_its_commit(repository: Path, cli: Cli) -> None:
    words = ("sweep", f"{repository.as_uri()}#part", "--version", "main", "-e", "train.py", "-P", "x=1,2", "--restore")
    first = json.loads(cli(*words, "--json").stdout)
    at = run_git(repository, "rev-parse", "HEAD")
    store = get_store()
    runs = [first["run_id"], *(each["run_id"] for each in first["points"])]
    tags = [store.read_tags(run_id) for run_id in runs]
    assert {each["mlflow.source.git.commit"] for each in tags} == {at}
    assert len({each["repro.snapshot.digest"] for each in tags}) == 1
    assert {each["repro.restored"] for each in tags} == {"true"}
    assert store.read_text(runs[2], "output.log") == "1.0 2\n"
    assert "alpha==1.0" in store.read_text(runs[1], "requirements-lock.txt")
    store.delete_run(runs[2])
    commit(repository, "two", part__train_py="raise SystemExit('another')\n")
    again = json.loads(cli("sweep", "--resume", first["run_id"][:8], "--json").stdout)
    assert [each["was_done"] for each in again["points"]] == [True, False]
    assert store.read_tags(again["points"][1]["run_id"])["mlflow.source.git.commit"] == at


def test_a_sweep_on_a_server_is_kept_there_and_resumed(
    project: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ReadableStore(tmp_path / "kept")
    endpoint = serve_in_background(kept, token=None)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", endpoint.uri)
        words = (str(project), "-e", "train.py", "-P", "x=1,3", "-j", "2", "--metric", "loss", "--goal", "max")
        first = sweep_json(cli, *words, code=1)
        (project / "mended").touch()
        again = sweep_json(cli, "--resume", str(first["run_id"])[:8])
    finally:
        endpoint.close()
    assert get_store().list_runs() == []
    assert (again["run_id"], again["status"], again["finished"]) == (first["run_id"], "FINISHED", 2)
    points = again["points"]
    assert isinstance(points, list)
    assert [each["was_done"] for each in points] == [True, False]
    assert kept.read_text(points[1]["run_id"], "output.log") == "seen ['--x', '3']\n"
    best = kept.read_tags(str(first["run_id"]))["repro.sweep.best_run_id"]
    assert best == points[0]["run_id"]
    assert kept.read_metrics(best)["loss"] == pytest.approx(1.1)


BACKEND = """\
import json, subprocess
from repro.projects.backend import Ended
class Backend:
    def check_config(self, config):
        if unknown := sorted(config.keys() - {"queue"}):
            raise ValueError(f"`{unknown[0]}` is no key of it")
    def execute(self, task):
        task.output.write(f"{json.dumps(task.config)}\\n".encode())
        code = subprocess.run(["bash", "-c", task.command], env={**task.environ}, cwd=task.project_dir,
                              stdout=task.output, stderr=task.output).returncode
        return Ended(exit_code=code, timed_out=False)
class Broken:
    def execute(self, task):
        raise ValueError("no node is free")
"""


def test_a_backend_comes_with_a_wheel(project: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[repro.backends]\nfar = far:Backend\nbroken = far:Broken\n"
    files = {"far.py": BACKEND, "far-1.0.dist-info/entry_points.txt": points}
    wheel = make_wheel(tmp_path, "far", "1.0", files=files)
    assert "installed: `local`" in cli("run", str(project), "-e", "train.py", "--backend", "far", code=2).stderr
    monkeypatch.setenv("PYTHONPATH", str(wheel))  # a wheel can be imported from as it is, with its entry points
    far = (str(project), "-e", "train.py", "--backend", "far", "--backend-config")
    Path("far.json").write_text('\ufeff{"queue": "night"}')
    result = sweep_json(cli, *far, "far.json", "-P", "x=1,2")
    run_id, parent = result["points"][0]["run_id"], str(result["run_id"])  # type: ignore[index]
    assert get_store().read_tags(run_id)["mlflow.project.backend"] == "far"
    assert get_store().read_text(run_id, "output.log") == "{\"queue\": \"night\"}\nseen ['--x', '1']\n"
    assert "night" not in get_store().read_text(parent, "sweep.json")
    assert "give it again with `--backend-config`" in cli("sweep", "--resume", parent, code=2).stderr
    assert sweep_json(cli, "--resume", parent, "--backend-config", '{"queue": "day"}')["run_id"] == parent
    assert sweep_json(cli, *far, '{ "queue":"night"}', "-P", "x=1,2")["run_id"] == parent
    assert sweep_json(cli, *far, '{"queue": "day"}', "-P", "x=1,2")["run_id"] != parent
    refused = cli("run", *far, '{"queu": 1}', code=2).stderr
    assert "the backend `far` refuses its configuration: `queu` is no key of it" in refused
    done = cli("run", str(project), "-e", "train.py", "--backend", "broken", "--no-snapshot", code=5)
    assert "the backend `broken` failed: ValueError: no node is free" in done.stderr
    wrong = cli("run", str(project), "-e", "train.py", "--backend", "nope", code=2).stderr
    assert "installed: `broken`, `far`, `local`" in wrong
