"""The loop on real input: scikit-learn, pandas and matplotlib from the real index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, TEST_HOME, Cli, TestEnvironment, get_uv
from readable_store import ReadableStore

from repro.environments.machine import Machine
from repro.environments.satisfy import look_here
from repro.formats.lockfile import format_snapshot
from repro.snapshots.drift import compare
from repro.snapshots.load import load_lock

pytestmark = [pytest.mark.index, pytest.mark.xdist_group("real")]

# An entry of every kind that does not come from an index: none of them may keep a stock installer from the others.
OTHER_KINDS = """\
# repro: {"commit": "0123456789abcdef0123456789abcdef01234567", "kind": "vcs", "name": "zz-vcs", "url": "https://e.org/x", "vcs": "git", "version": "1"}
# repro: {"kind": "editable", "name": "zz-editable", "version": "1"}
# repro: {"kind": "directory", "name": "zz-directory", "version": "1"}
# repro: {"kind": "system", "name": "zz-system", "version": "1"}
# repro: {"kind": "index", "name": "zz-unhashed", "version": "1"}
"""  # noqa: E501


@pytest.fixture(scope="module")
def shared_cache() -> Path:
    """One cache for this file: what it restores is the same."""
    path = TEST_HOME / "real-cache"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture
def project(tmp_path: Path, science: TestEnvironment, shared_cache: Path) -> tuple[Path, Cli]:
    """The wine project with a snapshot of the science environment."""
    path = tmp_path / "wine"
    shutil.copytree(REPOSITORY / "fixtures" / "projects" / "wine", path)
    cli = Cli(shared_cache)
    cli("snapshot", str(path), "--python", science.python)
    return path, cli


def test_restore_of_snapshot_equals_the_environment(project: tuple[Path, Cli], science: TestEnvironment) -> None:
    path, cli = project
    made = json.loads(cli("restore", str(path), "--json").stdout)
    machine = Machine.here(cache=str(cli.cache))
    taken, restored = look_here(machine, science.python), look_here(machine, made["python"])
    assert len(taken.distributions) >= 15
    assert all(each.record for each in taken.distributions)
    assert not compare(taken, restored)
    assert taken.compute_digest() == restored.compute_digest()
    assert json.loads(cli("restore", str(path), "--json").stdout)["reused"] is True
    before = (path / "requirements-lock.txt").read_bytes()
    cli("snapshot", str(path), "--python", science.python)
    assert (path / "requirements-lock.txt").read_bytes() == before


def test_the_wine_project_runs_restored_with_the_same_numbers(project: tuple[Path, Cli]) -> None:
    path, cli = project
    results = [json.loads(cli("run", str(path), "-P", "alpha=0.3", "--restore", "--json").stdout) for _ in range(2)]
    store = ReadableStore(Path("mlruns"))
    metrics = [store.read_metrics(result["run_id"]) for result in results]
    assert metrics[0].keys() == {"rmse", "mae", "r2"}
    assert metrics[0] == metrics[1]
    assert store.read_params(results[0]["run_id"]) == {"alpha": "0.3", "l1_ratio": "0.1"}
    assert "predicted.png" in store.list_files(results[0]["run_id"])


def test_the_iris_project_runs_without_mlproject(science: TestEnvironment, tmp_path: Path, shared_cache: Path) -> None:
    path = tmp_path / "iris"
    shutil.copytree(REPOSITORY / "fixtures" / "projects" / "iris", path)
    done = Cli(shared_cache)("run", str(path), "-e", "train.py", "--python", science.python, "--json")
    result = json.loads(done.stdout)
    metrics = ReadableStore(Path("mlruns")).read_metrics(result["run_id"])
    assert metrics["rows"] == 150.0
    assert metrics["intercept"] == pytest.approx(3.157, abs=1e-3)


def test_the_committed_lock_of_the_wine_project_is_read_and_whole() -> None:
    loaded = load_lock(REPOSITORY / "fixtures" / "projects" / "wine")
    assert loaded.notes == ()
    assert loaded.snapshot.count() == {"hashed": len(loaded.snapshot.distributions)}
    assert format_snapshot(loaded.snapshot) == loaded.path.read_text()


@pytest.fixture
def lock_of_every_kind(project: tuple[Path, Cli]) -> Path:
    """A real lock with further entries of every kind."""
    lock = project[0] / "requirements-lock.txt"
    lock.write_text(lock.read_text() + OTHER_KINDS)
    counts = load_lock(lock).snapshot.count()
    assert counts["vcs"] == 1
    assert counts["not-restorable"] == 4
    return lock


def test_stock_pip_accepts_the_file_as_it_is(
    lock_of_every_kind: Path, tmp_path: Path, science: TestEnvironment
) -> None:
    target = TestEnvironment(tmp_path / "target")
    args = ["-m", "pip", "--python", target.python, "install", "--require-hashes", "--no-deps", "--no-compile", "-q"]
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(TEST_HOME / "pip-cache")}
    subprocess.run([sys.executable, *args, "-r", str(lock_of_every_kind)], check=True, env=environ)
    machine = Machine.here(cache=str(tmp_path / "cache"))
    assert not compare(look_here(machine, science.python), look_here(machine, target.python))


def test_stock_uv_accepts_the_file_as_it_is(lock_of_every_kind: Path, tmp_path: Path, science: TestEnvironment) -> None:
    target = TestEnvironment(tmp_path / "target")
    environ = {**os.environ, "UV_CACHE_DIR": str(TEST_HOME / "uv-cache")}
    args = ["pip", "sync", "--quiet", "--python", target.python, str(lock_of_every_kind)]
    subprocess.run([get_uv(), *args], check=True, env=environ)
    machine = Machine.here(cache=str(tmp_path / "cache"))
    assert not compare(look_here(machine, science.python), look_here(machine, target.python))


def test_a_bundle_restores_what_was_snapshotted_with_an_empty_cache_and_no_index(
    project: tuple[Path, Cli], science: TestEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cli = project
    cli("bundle", str(path), "-o", "wine.zip")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Cli(tmp_path / "elsewhere")
    made = json.loads(elsewhere("restore", "wine.zip", "--json").stdout)
    assert made["digest"] == load_lock(path).snapshot.compute_digest()
    machine = Machine.here(cache=str(cli.cache))
    assert not compare(look_here(machine, science.python), look_here(machine, made["python"]))
