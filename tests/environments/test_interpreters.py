"""Which Python is meant, and that it is asked again where it is another."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment

from repro import settings
from repro.environments.machine import Machine


@pytest.fixture
def lock(environment: TestEnvironment, cli: Cli, tmp_path: Path) -> str:
    """A lock for the Python that runs the tests."""
    path = tmp_path / "project"
    path.mkdir()
    cli("snapshot", str(path), "--python", environment.python)
    return str(path)


def repoint(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


@pytest.mark.parametrize("word", ["./py", "py"])
def test_a_python_that_is_another_now_is_not_looked_up(
    word: str, lock: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    if word == "py":
        monkeypatch.setenv("PATH", f"{Path.cwd()}:/usr/bin:/bin")
    repoint(Path("py"), sys.executable)
    cli("restore", lock, "--python", word)
    assert "was ready" in cli("restore", lock, "--python", word).stdout
    repoint(Path("py"), "/bin/true")
    assert "is no Python interpreter that works" in cli("restore", lock, "--python", word, code=4).stderr


def test_a_relative_python_is_another_one_elsewhere(
    lock: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repoint(Path("py"), sys.executable)
    cli("restore", lock, "--python", "./py")
    monkeypatch.chdir(tmp_path)
    assert "cannot be run" in cli("restore", lock, "--python", "./py", code=4).stderr
    repoint(Path("py"), "/bin/true")
    cli("restore", lock, "--python", "./py", code=4)


def test_a_script_that_leads_to_a_python_is_asked_each_time(lock: str, cli: Cli) -> None:
    shim = Path("py")
    shim.write_text('#!/bin/sh\nexec "$(cat target)" "$@"\n')
    shim.chmod(0o755)
    Path("target").write_text(sys.executable)
    for _ in range(2):
        cli("restore", lock, "--python", "./py")
    Path("target").write_text("/bin/true")
    cli("restore", lock, "--python", "./py", code=4)


@pytest.fixture
def other_python(cli: Cli) -> str:
    """Another Python than ours, for which there are markers."""
    minor = next(
        minor for minor in ("3.12", "3.11", "3.10") if f"python{minor}" not in os.path.realpath(sys.executable)
    )
    found = Machine.here(cache=str(cli.cache)).make_finder().find_version(minor, implementation="cpython")
    if found is None:
        pytest.skip(f"Python {minor} is not on this machine")
    return found.path


@pytest.mark.interpreters
def test_markers_of_a_plain_file_are_those_of_the_python_it_is_restored_on(
    other_python: str, cli: Cli, index: LocalIndex
) -> None:
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    Path("r.txt").write_text(
        f"alpha==1.0 ; python_version == '{ours}'\nbeta==2.0 ; python_version != '{ours}'\n"
        "gamma-ray==0.5 ; python_version >= '3'\n"
    )
    made = json.loads(cli("restore", "r.txt", "--python", other_python, "--json").stdout)
    assert {path.name for path in Path(made["path"]).glob("lib/*/site-packages/*.py")} == {"beta.py", "gamma_ray.py"}
    cli("status", "r.txt", "--no-code", "--python", made["python"])
    assert "which Python the marker" in cli("diff", "r.txt", "r.txt", code=3).stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/opt/py", "/opt/py"), ("sub/py", "{cwd}/sub/py"), ("./py", "{cwd}/py"), ("../py", "{cwd}/../py"), ("py", "py")],
)
def test_a_word_for_a_python_means_what_it_means_to_a_shell(given: str, expected: str) -> None:
    Path("py").symlink_to(sys.executable)
    assert settings.locate_python(given, {"PATH": "/nowhere"}) == expected.format(cwd=Path.cwd())
    assert settings.locate_python("py", {"PATH": f"/nowhere:{Path.cwd()}"}) == f"{Path.cwd()}/py"
