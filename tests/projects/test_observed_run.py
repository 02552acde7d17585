"""A run marks what it has used in its own copy of the lock, and `--used` takes that."""

from __future__ import annotations

import ctypes.util
import json
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from readable_store import ReadableStore

from repro.formats.lockfile import Snapshot
from repro.snapshots.load import load_lock


@pytest.fixture
def rich(environment: TestEnvironment, index: LocalIndex, tmp_path: Path) -> TestEnvironment:
    """An environment with alpha, which requires beta, gamma-ray, two owners of one namespace, and an editable."""
    for part in ("auth", "storage"):
        index.add(f"goo-{part}", "1.0", files={f"goo/{part}/__init__.py": f"PART = {part!r}\n"})
    code = tmp_path / "code"
    (code / "src").mkdir(parents=True)
    (code / "src" / "mine.py").write_text("")
    (code / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "mine"\nversion = "0.1"\n'
    )
    site = environment.install("gamma-ray==0.5", "goo-auth==1.0", "goo-storage==1.0").site
    (site / "_mine.pth").write_text(f"{code / 'src'}\n")  # what an editable install leaves
    info = site / "mine-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (info / "RECORD").write_text("_mine.pth,,\nmine-0.1.dist-info/METADATA,,\nmine-0.1.dist-info/RECORD,,\n")
    (info / "direct_url.json").write_text(json.dumps({"url": code.as_uri(), "dir_info": {"editable": True}}))
    return environment


@pytest.fixture
def project(tmp_path: Path, rich: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project run with the environment's Python."""
    path = tmp_path / "project"
    path.mkdir()
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", rich.python)
    return path


def get_store() -> ReadableStore:
    return ReadableStore(Path("mlruns"))


def list_used(snapshot: Snapshot) -> list[str]:
    return [each.name for each in snapshot.distributions if each.used]


def run_script(cli: Cli, project: Path, code: str, *args: str, exit_code: int = 0) -> dict[str, str]:
    (project / "train.py").write_text(code)
    done = cli("run", str(project), "-e", "train.py", "--json", *args, code=exit_code)
    return dict(json.loads(done.stdout))


def read_lock(result: dict[str, str]) -> Snapshot:
    return load_lock(Path(result["artifacts"])).snapshot


CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import gamma_ray'], check=True)"


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("import alpha", ["alpha"]),
        ("def late():\n    import alpha\nlate()", ["alpha"]),
        (CHILD, ["gamma-ray"]),
        ("import goo.storage", ["goo-storage"]),
        ("import mine", ["mine"]),
        ("", []),
    ],
)
def test_what_a_run_imports_is_marked_in_its_own_lock_only(code: str, used: list[str], project: Path, cli: Cli) -> None:
    result = run_script(cli, project, code)
    assert list_used(read_lock(result)) == used
    assert result["used"] == len(used)
    assert get_store().read_tags(result["run_id"])["repro.snapshot.used"] == str(len(used))
    assert list_used(load_lock(project).snapshot) == []


@pytest.mark.parametrize(
    ("end", "exit_code"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", 137), ("raise SystemExit(1)", 1)]
)
def test_a_run_that_ends_badly_is_marked_too(end: str, exit_code: int, project: Path, cli: Cli) -> None:
    result = run_script(cli, project, f"import os, alpha\n{end}", exit_code=exit_code)
    assert list_used(read_lock(result)) == ["alpha"]
    assert "environment.json" in get_store().list_files(result["run_id"])


@pytest.mark.parametrize("off", ["option", "variable"])
def test_observing_is_switched_off(off: str, project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    if off == "variable":
        monkeypatch.setenv("REPRO_OBSERVE", "0")
    code = "import os, alpha; print(os.environ.get('REPRO_OBSERVE_DIR'))"
    result = run_script(cli, project, code, *(["--no-observe"] if off == "option" else []))
    assert list_used(read_lock(result)) == []
    assert result["used"] is None
    assert "repro.snapshot.used" not in get_store().read_tags(result["run_id"])
    fingerprint = json.loads(Path(result["artifacts"], "environment.json").read_text())
    assert fingerprint["observed"] is False


def test_the_observers_directory_is_gone_afterwards(project: Path, cli: Cli) -> None:
    (project / "train.py").write_text("import os; print(os.environ['REPRO_OBSERVE_DIR'])")
    directory = cli("run", str(project), "-e", "train.py").stdout.strip()
    assert directory
    assert not Path(directory).exists()


def test_a_script_that_removes_it_runs_on(project: Path, cli: Cli) -> None:
    code = "import os, shutil, alpha\nshutil.rmtree(os.environ['REPRO_OBSERVE_DIR'])\nimport gamma_ray\nprint('end')"
    result = run_script(cli, project, code)
    assert (result["exit_code"], list_used(read_lock(result))) == (0, [])


def test_what_a_script_keeps_under_our_names_is_its_own(project: Path, cli: Cli) -> None:
    code = (
        "import repro, alpha\nfor name in ('requirements-lock.txt', 'environment.json'): repro.log_text('mine', name)"
    )
    result = run_script(cli, project, code)
    for name in ("requirements-lock.txt", "environment.json"):
        assert Path(result["artifacts"], name).read_text() == "mine"


def test_a_lock_with_marks_in_the_project_loses_them_at_the_next_snapshot(project: Path, cli: Cli) -> None:
    result = run_script(cli, project, "import alpha")
    (project / "requirements-lock.txt").write_bytes(Path(result["artifacts"], "requirements-lock.txt").read_bytes())
    assert list_used(load_lock(project).snapshot) == ["alpha"]
    cli("snapshot", str(project))
    assert list_used(load_lock(project).snapshot) == []


def test_restoring_what_was_used_leaves_out_the_rest_and_verifies(project: Path, cli: Cli) -> None:
    artifacts = run_script(cli, project, "import alpha")["artifacts"]
    assert "cannot be restored" in cli("restore", artifacts, code=4).stderr  # the editable has no file
    first = json.loads(cli("restore", artifacts, "--used", "--json").stdout)
    code = "import alpha, beta, importlib.util as u; print([u.find_spec(n) for n in ('gamma_ray', 'goo', 'mine')])"
    done = subprocess.run([first["python"], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[None, None, None]"
    second = json.loads(cli("restore", artifacts, "--used", "--json").stdout)
    assert (second["reused"], second["key"]) == (True, first["key"])
    everything = json.loads(cli("restore", artifacts, "--allow-missing", "--json").stdout)
    assert everything["key"] != first["key"]


def test_a_restored_ring_is_the_lock_that_snapshot_used_writes(project: Path, cli: Cli) -> None:
    result = run_script(cli, project, "import alpha")
    cli("snapshot", str(project), "--used")
    ring = load_lock(project).snapshot
    assert [(each.name, each.used) for each in ring.distributions] == [("alpha", False), ("beta", False)]
    restored = json.loads(cli("restore", str(project), "--json").stdout)
    assert restored["key"] == json.loads(cli("restore", result["artifacts"], "--used", "--json").stdout)["key"]
    cli("status", str(project), "--python", restored["python"])


def test_a_file_that_differs_from_the_ring_is_found(project: Path, cli: Cli) -> None:
    artifacts = run_script(cli, project, "import alpha")["artifacts"]
    lock = Path(artifacts, "requirements-lock.txt")
    record = next(each.record for each in load_lock(lock).snapshot.distributions if each.name == "beta")
    assert record
    lock.write_text(lock.read_text().replace(record, "sha256:" + "0" * 64))
    assert "beta" in cli("restore", artifacts, "--used", code=4).stderr


def test_the_newest_observed_run_of_the_project_is_meant_or_the_one_named(
    project: Path, tmp_path: Path, cli: Cli
) -> None:
    first = run_script(cli, project, "import alpha")
    run_script(cli, project, "import gamma_ray")
    run_script(cli, project, "", "--no-observe")
    other = tmp_path / "other"
    other.mkdir()
    run_script(cli, other, "import goo.auth")
    output = str(tmp_path / "ring.txt")
    for args, names in (((), ["gamma-ray"]), ((first["run_id"],), ["alpha", "beta"])):
        cli("snapshot", str(project), "-o", output, "--used", *args)
        assert [each.name for each in load_lock(output).snapshot.distributions] == names


def test_check_answers_for_the_ring(project: Path, cli: Cli) -> None:
    run_script(cli, project, "import alpha")
    cli("snapshot", str(project), "--used", "--check", code=1)
    cli("snapshot", str(project), "--used")
    cli("snapshot", str(project), "--used", "--check")


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("snapshot", "--used"), 3, "no run of"),
        (("snapshot", "--used", "0" * 32), 5, "there is no run"),
        (("snapshot", "--used", "project"), 2, "is no run's id"),
        (("restore", "--used"), 3, "marks no distribution as used"),
    ],
)
def test_where_nothing_was_observed_that_is_said(
    args: tuple[str, ...], code: int, sentence: str, project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    cli("snapshot")
    error = cli(*args, code=code).stderr
    assert sentence in error
    if code == 3:
        assert "`repro run`" in error


def test_a_run_that_used_nothing_has_no_ring(project: Path, cli: Cli) -> None:
    result = run_script(cli, project, "")
    error = cli("snapshot", str(project), "--used", result["run_id"], code=3).stderr
    assert f"the run `{result['run_id']}` marks no distribution as used" in error


def test_a_ring_that_is_not_installed_here_is_said(project: Path, cli: Cli, rich: TestEnvironment) -> None:
    run_script(cli, project, "import alpha, goo.auth")
    rich._run("pip", "uninstall", "--quiet", "--python", rich.python, "goo-auth")
    assert "`goo-auth` was used and is not installed any more" in cli("snapshot", str(project), "--used").stderr
    rich._run("pip", "uninstall", "--quiet", "--python", rich.python, "alpha")
    assert "nothing that the run has used is installed" in cli("snapshot", str(project), "--used", code=3).stderr


def test_the_fingerprint_tells_what_the_process_had_and_nothing_of_its_owner(
    project: Path, rich: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MY_TOKEN", "unseen")
    code = "import os, torch; os.environ['PYTHONHASHSEED'] = '7'"
    (rich.site / "torch").mkdir()
    (rich.site / "torch" / "__init__.py").write_text(
        "__version__ = '2.0'\nclass backends:\n  class cudnn:\n    benchmark = True\n"
        "def are_deterministic_algorithms_enabled(): return False\ndef get_num_threads(): raise RuntimeError\n"
    )
    result = run_script(cli, project, code)
    text = Path(result["artifacts"], "environment.json").read_text()
    content = json.loads(text)
    assert content["variables"] | {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"} == content["variables"]
    assert content["torch"] == {"cudnn_benchmark": True, "deterministic_algorithms": False, "version": "2.0"}
    assert content["observed"] is True
    assert content["cpu"]["usable"] >= 1
    assert "unseen" not in text
    assert str(project.parent) not in text


@pytest.mark.skipif(not ctypes.util.find_library("gomp"), reason="needs libgomp.so.1")
def test_a_library_of_the_system_is_asked_for_its_threads(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    result = run_script(cli, project, "import ctypes; ctypes.CDLL('libgomp.so.1')")
    (library,) = json.loads(Path(result["artifacts"], "environment.json").read_text())["libraries"]
    assert (library["kind"], library["threads"]) == ("openmp", 3)
    assert library["path"].startswith("/")


@pytest.mark.index
def test_the_science_environment_is_told_apart(
    science: TestEnvironment, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", science.python)
    (tmp_path / "numbers").mkdir()
    result = run_script(cli, tmp_path / "numbers", "import numpy; numpy.eye(9) @ numpy.eye(9)")
    assert list_used(read_lock(result)) == ["numpy"]
    libraries = json.loads(Path(result["artifacts"], "environment.json").read_text())["libraries"]
    (blas,) = [each for each in libraries if each["kind"] == "blas"]
    assert blas["distribution"].startswith("numpy==")
    assert "OpenBLAS" in blas["version"]
    assert blas["threads"] >= 1


def test_the_snapshot_is_there_before_the_command_starts(project: Path, cli: Cli) -> None:
    code = (
        "import glob, os\n"
        "root = os.environ['REPRO_TRACKING_URI'].removeprefix('file://')\n"
        "print(len(glob.glob(f\"{root}/*/{os.environ['MLFLOW_RUN_ID']}/artifacts/requirements-lock.txt\")))\n"
    )
    (project / "train.py").write_text(code)
    assert cli("run", str(project), "-e", "train.py").stdout.strip() == "1"
