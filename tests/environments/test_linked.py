"""Link sealed environments into projects, and use them through the link as an editor does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment

import repro
from repro.environments.linked import is_link_of_ours


@pytest.fixture
def project(environment: TestEnvironment, cli: Cli) -> Path:
    """The working directory with a lock."""
    cli("snapshot", "--python", environment.python)
    return Path.cwd()


def test_the_link_leads_to_an_environment_that_works(project: Path, cli: Cli) -> None:
    found = json.loads(cli("restore", "--link", "--json").stdout)
    link = project / ".venv"
    assert (found["link"], os.path.realpath(link)) == (str(link), found["path"])
    code = "import sys, alpha; print(sys.prefix); print(alpha.VERSION)"
    shown = subprocess.run([link / "bin" / "python", "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.splitlines() == [str(link), "1.0"]
    assert f"{link} leads to it" in cli("restore", "--link").stdout


def test_snapshot_and_status_see_the_environment_through_the_link(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("restore", "--link")
    monkeypatch.setenv("VIRTUAL_ENV", str(project / ".venv"))
    digest = json.loads(cli("restore", "--json").stdout)["digest"]
    taken = json.loads(cli("snapshot", "--json").stdout)
    assert (taken["python"], taken["distributions"]) == (str(project / ".venv" / "bin" / "python"), 2)
    assert json.loads(cli("restore", "--json").stdout)["digest"] == digest
    assert "equals" in cli("status").stdout
    assert json.loads(cli("restore", "--verify", "--json").stdout)["sound"] is True


def test_another_lock_and_an_environment_that_is_gone_replace_the_link(
    project: Path, cli: Cli, environment: TestEnvironment
) -> None:
    first = json.loads(cli("restore", "--link", "--json").stdout)
    environment.install("beta==2.1")
    cli("snapshot", "--python", environment.python)
    second = json.loads(cli("restore", "--link", "--json").stdout)
    assert first["key"] != second["key"]
    assert os.path.realpath(".venv") == second["path"]
    Path(".venv").unlink()
    Path(".venv").symlink_to("/nowhere/repro/v1/envs/0123456789abcdef/current")
    cli("restore", "--link")
    assert os.path.realpath(".venv") == second["path"]
    assert sorted(os.listdir()) == [".venv", "requirements-lock.txt"]


def test_an_environment_that_is_built_again_is_found_by_the_link(project: Path, cli: Cli) -> None:
    first = json.loads(cli("restore", "--link", "--json").stdout)
    os.chmod(Path(first["path"]), 0o755)
    Path(first["path"], "repro-environment").unlink()
    second = json.loads(cli("restore", "--json").stdout)
    assert first["path"] != second["path"]
    assert os.path.realpath(".venv") == second["path"]


@pytest.mark.parametrize("kind", ["file", "directory", "environment", "link", "dangling"])
def test_what_is_no_link_of_ours_is_not_replaced(kind: str, project: Path, cli: Cli) -> None:
    place = project / ".venv"
    if kind == "file":
        place.write_text("mine")
    elif kind == "directory":
        place.mkdir()
    elif kind == "environment":
        TestEnvironment(place)
    else:
        place.symlink_to(project.parent if kind == "link" else "/nowhere/at/all")
    before = place.lstat().st_ino
    said = cli("restore", "--link", code=4).stderr
    assert f"`{place}` is there, and is no link" in said
    assert "hint: " in said
    assert place.lstat().st_ino == before


def test_the_link_lies_beside_the_lock_or_where_it_is_said_to(project: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (project / "requirements-lock.txt").rename(tmp_path / "other" / "requirements-lock.txt")
    cli("restore", "--link", str(tmp_path / "other"))
    assert is_link_of_ours(tmp_path / "other" / ".venv")
    cli("restore", str(tmp_path / "other" / "requirements-lock.txt"), "--link=here")
    assert is_link_of_ours("here")
    assert "cannot be made" in cli("restore", str(tmp_path / "other"), "--link=no/such/dir", code=4).stderr


def test_a_command_runs_with_the_link_made_before_it(project: Path, cli: Cli) -> None:
    done = cli("restore", "--link", "--", "sh", "-c", "ls -d .venv; exit 7", code=7)
    assert done.stdout == ".venv\n"
    assert is_link_of_ours(".venv")
    found = json.loads(cli("restore", "--link", "--json", "--", "true").stdout)
    assert (found["link"], found["exit_code"]) == (str(project / ".venv"), 0)


def test_the_function_makes_the_link(project: Path, cache: Path) -> None:
    made = repro.restore(cache=cache, link=True)
    assert os.path.realpath(".venv") == made.path
    repro.restore(cache=cache, link=Path("editor"))
    assert os.path.realpath("editor") == made.path
