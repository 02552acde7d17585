"""`repro status`: lock, environment and code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment


@pytest.fixture
def project(environment: TestEnvironment, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the lock of the environment, which the command takes for its own."""
    path = tmp_path / "project"
    path.mkdir()
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    cli("snapshot", str(path))
    (path / "train.py").write_text("import os\nimport alpha\nimport helper\n")
    (path / "helper.py").write_text("try:\n    import nowhere\nexcept ImportError:\n    pass\n")
    return path


def read_rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_where_all_three_agree_it_says_so(project: Path, cli: Cli) -> None:
    done = cli("status", str(project))
    assert done.stdout.endswith("2 distributions, and provides what 2 Python files import\n")
    content = json.loads(cli("status", str(project), "--json").stdout)
    assert (content["agrees"], content["equal"], content["command"]) == (True, True, None)


def test_differences_stand_by_class_and_one_command_mends_them(
    project: Path, environment: TestEnvironment, cli: Cli
) -> None:
    environment.install("beta==2.1", "gamma-ray==0.5")
    done = cli("status", str(project), code=1)
    rows = read_rows(done.stdout)
    assert rows[1:3] == [["used", "beta", "2.0", "2.1", "changed"], ["extra", "gamma-ray", "-", "0.5", "added"]]
    assert done.stdout.count("mend it: ") == 1
    assert rows[-1] == f"mend it: pip --python {environment.python} install --no-deps beta==2.0".split()


def test_the_command_mends(project: Path, environment: TestEnvironment, cli: Cli) -> None:
    environment.install("beta==2.1")
    command = json.loads(cli("status", str(project), "--json", code=1).stdout)["command"]
    subprocess.run(command.replace("pip ", "python -m pip ", 1), shell=True, check=True, capture_output=True)
    assert cli("status", str(project)).stdout.startswith(environment.python)


def test_an_import_that_is_installed_and_not_locked_is_mended_by_a_new_lock(
    project: Path, environment: TestEnvironment, cli: Cli
) -> None:
    environment.install("gamma-ray==0.5")
    (project / "more.py").write_text("import gamma_ray\n")
    done = cli("status", str(project), code=1)
    assert ["used", "gamma-ray", "-", "0.5", "added"] in read_rows(done.stdout)
    assert "used   gamma_ray  gamma-ray 0.5 is installed, not locked  more.py:1" in done.stdout
    assert done.stdout.endswith(f"\nmend it: repro snapshot {project}\n")
    cli("snapshot", str(project))
    cli("status", str(project))


def test_an_import_that_nothing_provides_is_a_difference_of_its_own(project: Path, cli: Cli) -> None:
    (project / "more.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": "import torch, company_tools"}]})
    )
    content = json.loads(cli("status", str(project), "--json", code=1).stdout)
    assert (content["equal"], content["agrees"]) == (True, False)
    assert content["code"]["gaps"] == [
        {"module": "torch", "class": "numeric", "state": "missing", "distribution": "torch", "version": None,
         "places": ["more.ipynb:1"]},
        {"module": "company_tools", "class": "used", "state": "missing", "distribution": None, "version": None,
         "places": ["more.ipynb:1"]},
    ]  # fmt: skip
    assert content["command"].endswith(f" install torch && repro snapshot {project}")
    assert "equals" in cli("status", str(project), "--no-code").stdout


def test_files_that_are_not_python_are_named_and_not_fatal(project: Path, cli: Cli) -> None:
    (project / "old.py").write_text("import alpha\nprint 'a'\n")
    done = cli("status", str(project))
    assert "warning: `old.py` was not read for its imports: line 2: Missing parentheses" in done.stderr
    assert json.loads(cli("status", str(project), "--json").stdout)["code"]["unreadable"][0]["file"] == "old.py"


def test_a_python_of_another_patch_is_said_and_not_counted(project: Path, cli: Cli) -> None:
    lock = project / "requirements-lock.txt"
    lock.write_text(lock.read_text().replace('"version": "3.11.', '"version": "3.11.9'))
    assert "not counted" in cli("status", str(project)).stderr


def test_another_python_breaks_loading_and_is_restored(project: Path, cli: Cli) -> None:
    lock = project / "requirements-lock.txt"
    lock.write_text(lock.read_text().replace('"version": "3.', '"version": "2.'))
    done = cli("status", str(project), code=1)
    assert read_rows(done.stdout)[1][:2] == ["breaks-loading", "python"]
    assert done.stdout.endswith(f"mend it: repro restore {project}\n")


def test_a_lock_that_is_restored_equals_itself(project: Path, cli: Cli) -> None:
    python = json.loads(cli("restore", str(project), "--json").stdout)["python"]
    assert "equals" in cli("status", str(project), "--python", python).stdout
