"""The running interpreter compared with a lock, in-process: real environments, in an interpreter of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import REPOSITORY, LocalIndex, TestEnvironment

from repro.environments.machine import Machine
from repro.environments.snapshot import take_for
from repro.formats.direct_url import Editable
from repro.formats.lockfile import Snapshot, format_snapshot

# What the loader of a model does, in an environment without repro: the package lies on the path for the import only.
SCRIPT = """\
import json, sys
sys.path.insert(0, sys.argv[2])
import repro.snapshots.here as here
del sys.path[0]
loaded, drift = here.compare_here(sys.argv[1])
heavy = {"packaging", "yaml", "subprocess", "rich", "importlib.metadata"} & set(sys.modules)
changes = list(map(str, drift.changes))
print(json.dumps({"changes": changes, "python": bool(drift.interpreters), "heavy": sorted(heavy)}))
"""


@pytest.fixture
def lock(environment: TestEnvironment, cache: Path, tmp_path: Path) -> Path:
    path = tmp_path / "requirements-lock.txt"
    path.write_text(format_snapshot(take(environment, cache)))
    return path


def take(environment: TestEnvironment, cache: Path) -> Snapshot:
    machine = Machine.here(cache=str(cache))
    return take_for(machine, environment.python, path=cache / "none.txt").taken.snapshot


def look(environment: TestEnvironment, lock: Path, *, environ: dict[str, str] | None = None) -> dict[str, object]:
    command = [environment.python, "-c", SCRIPT, str(lock), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_an_environment_equals_its_own_lock_and_nothing_heavy_is_imported(
    environment: TestEnvironment, lock: Path
) -> None:
    assert look(environment, lock) == {"changes": [], "python": False, "heavy": []}


def test_each_planted_difference_is_found(environment: TestEnvironment, lock: Path) -> None:
    environment.install("beta==2.1", "gamma-ray==0.5")
    for path in environment.site.glob("alpha*"):
        path.rename(path.parent / f"~{path.name}")
    assert look(environment, lock)["changes"] == ["- alpha 1.0", "~ beta 2.0 -> 2.1", "+ gamma-ray 0.5"]


def test_a_version_that_the_directory_spells_otherwise_is_read_from_the_metadata(
    environment: TestEnvironment, lock: Path
) -> None:
    (environment.site / "beta-2.0.dist-info").rename(environment.site / "beta-2_0.dist-info")
    assert look(environment, lock)["changes"] == []
    (environment.site / "beta-2_0.dist-info" / "METADATA").write_text("Name: beta\nVersion: 2.1\n")
    assert look(environment, lock)["changes"] == ["~ beta 2.0 -> 2.1"]


def test_an_editable_and_a_commit_are_told_from_a_file_of_an_index(environment: TestEnvironment, lock: Path) -> None:
    (environment.site / "alpha-1.0.dist-info" / "direct_url.json").write_text(
        json.dumps({"url": "file:///home/me/alpha", "dir_info": {"editable": True}})
    )
    vcs = {"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "c" * 40}}
    (environment.site / "beta-2.0.dist-info" / "direct_url.json").write_text(json.dumps(vcs))
    assert look(environment, lock)["changes"] == ["~ alpha 1.0 (index -> editable)", "~ beta 2.0 (index -> vcs)"]


def test_a_damaged_direct_url_is_no_difference_and_no_error(environment: TestEnvironment, lock: Path) -> None:
    (environment.site / "alpha-1.0.dist-info" / "direct_url.json").write_text("{")
    assert look(environment, lock)["changes"] == []


def test_a_locked_editable_that_was_replaced_by_a_file_is_found(
    environment: TestEnvironment, cache: Path, lock: Path
) -> None:
    snapshot = take(environment, cache)
    first, *others = snapshot.distributions
    lock.write_text(
        format_snapshot(replace(snapshot, distributions=(replace(first, source=Editable(), hashes=()), *others)))
    )
    assert look(environment, lock)["changes"] == ["~ alpha 1.0 (editable -> index)"]


def test_of_two_versions_the_one_with_a_record_counts(environment: TestEnvironment, lock: Path) -> None:
    (environment.site / "beta-9.0.dist-info").mkdir()
    assert look(environment, lock)["changes"] == []


def test_what_lies_beside_the_script_or_on_pythonpath_does_not_count(
    environment: TestEnvironment, lock: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    for place in (elsewhere, Path.cwd()):
        (place / "beta-9.0.dist-info").mkdir(parents=True)
    assert look(environment, lock, environ={"PYTHONPATH": str(elsewhere)})["changes"] == []


def test_a_working_directory_that_was_removed_does_no_harm(
    environment: TestEnvironment, lock: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd())\n" + SCRIPT
    command = [environment.python, "-c", script, str(lock), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=gone, check=False)
    assert (json.loads(done.stdout or "{}").get("changes"), done.stderr) == ([], "")


def test_what_a_pth_file_brings_counts(environment: TestEnvironment, lock: Path, tmp_path: Path) -> None:
    develop = tmp_path / "develop"
    (develop / "mine.egg-info").mkdir(parents=True)
    (develop / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 0.1\n")
    (environment.site / "mine.pth").write_text(f"{develop}\n")
    assert look(environment, lock)["changes"] == ["+ mine 0.1"]


def find_others() -> list[str]:
    """Return the Pythons beside ours that can run the light half, 3.10 and newer."""
    versions = sorted(Path(sys.base_prefix).parent.glob("3.1[0-9].*/bin/python"))
    return [str(path) for path in versions if not path.is_relative_to(sys.base_prefix)]


@pytest.mark.interpreters
@pytest.mark.parametrize("python", find_others() or [sys.executable])
def test_every_python_of_the_light_half_runs_it(python: str, lock: Path, index: LocalIndex, tmp_path: Path) -> None:
    bare = TestEnvironment(tmp_path / "bare", python=python).install("alpha==1.0")
    is_other = python != sys.executable
    assert look(bare, lock) == {"changes": ["- beta 2.0"], "python": is_other, "heavy": []}
