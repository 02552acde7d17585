"""Lending packages to an interpreter that does not have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment

LEND_DIR = REPOSITORY / "repro" / "inside" / "lend"


def start(python: str, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=False, env=environ)


@pytest.fixture
def bare(tmp_path: Path) -> TestEnvironment:
    """An environment with nothing in it."""
    return TestEnvironment(tmp_path / "bare")


def lent(environment: TestEnvironment) -> dict[str, str]:
    import yaml

    yaml_dir = os.path.dirname(yaml.__file__)
    return {
        "PYTHONPATH": str(LEND_DIR),
        "REPRO_LEND_PREFIX": str(environment.path),
        "REPRO_LEND_PACKAGES": f"repro={REPOSITORY / 'repro'}:yaml={yaml_dir}",
    }


def test_a_bare_environment_imports_what_is_lent_and_nothing_else(bare: TestEnvironment) -> None:
    script = "import repro, yaml, repro.tracking.active_run, importlib.util as u; print(u.find_spec('rich'))"
    assert start(bare.python, script, **lent(bare)).stdout == "None\n"
    assert "No module named 'repro'" in start(bare.python, "import repro").stderr


def test_the_environments_own_copy_wins(bare: TestEnvironment) -> None:
    (bare.site / "repro.py").write_text("OWN = 1\n")
    assert start(bare.python, "import repro; print(repro.OWN)", **lent(bare)).stdout == "1\n"


def test_another_prefix_gets_nothing(bare: TestEnvironment, tmp_path: Path) -> None:
    other = TestEnvironment(tmp_path / "other")
    assert "No module named 'repro'" in start(other.python, "import repro", **lent(bare)).stderr


def test_the_hidden_sitecustomize_still_runs_also_elsewhere(bare: TestEnvironment, tmp_path: Path) -> None:
    other = TestEnvironment(tmp_path / "other")
    for environment in (bare, other):
        (environment.site / "sitecustomize.py").write_text("import builtins; builtins.HIDDEN = 1\n")
        assert start(environment.python, "print(HIDDEN)", **lent(bare)).stdout == "1\n"


def test_errors_of_the_hidden_one_are_noted_and_lending_goes_on(bare: TestEnvironment) -> None:
    (bare.site / "sitecustomize.py").write_text("1 / 0\n")
    done = start(bare.python, "import repro", **lent(bare))
    assert done.returncode == 0
    assert "repro: the environment's own sitecustomize: ZeroDivisionError" in done.stderr


def find_interpreters() -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions")
    return [str(path / "bin" / "python") for minor in ("3.10", "3.13") for path in sorted(root.glob(f"{minor}.*"))]


@pytest.mark.interpreters
@pytest.mark.parametrize("python", find_interpreters() or [sys.executable])
def test_the_light_half_works_in_bare_environments_of_the_oldest_and_newest_python(python: str, tmp_path: Path) -> None:
    bare = TestEnvironment(tmp_path / "bare", python=python)
    script = (
        "import sys; sys.argv = ['train.py', '--rate', '2']\n"
        "import repro\n"
        "with repro.start_run(): repro.log_metric('m', repro.param('rate', 1)); repro.log_text('t', 'a.txt')\n"
    )
    done = start(bare.python, script, **lent(bare))
    assert done.returncode == 0, done.stderr
    assert [path.read_text().split()[1] for path in Path("mlruns").glob("0/*/metrics/m")] == ["2.0"]
