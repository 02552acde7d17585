"""Locking and exporting real packages of the real index, installed with stock pip and uv."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEST_HOME, Cli, TestEnvironment, get_uv

from repro.environments.machine import Machine
from repro.environments.satisfy import look_here
from repro.snapshots.load import load_lock

pytestmark = [pytest.mark.index, pytest.mark.xdist_group("real")]

WANTED = "jinja2\nmarkupsafe<3.1\npyyaml==6.0.2\ncharset-normalizer\n"


@pytest.fixture
def lock(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the index had of a few packages on a day, some with a wheel for each platform."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)
    Path("requirements.in").write_text(WANTED)
    cli("lock", "requirements.in", "--as-of", "2025-06-30")
    return Path("requirements-lock.txt")


def test_both_engines_choose_what_the_index_had_on_that_day(lock: Path, cli: Cli) -> None:
    versions = {each.name: each.version for each in load_lock(lock).snapshot.distributions}
    assert versions == {"jinja2": "3.1.6", "markupsafe": "3.0.2", "pyyaml": "6.0.2", "charset-normalizer": "3.4.2"}
    before = lock.read_bytes()
    lock.unlink()
    cli("lock", "requirements.in", "--as-of", "2025-06-30", "--engine", "pip-tools")
    assert lock.read_bytes() == before


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_the_exported_pylock_installs_with_stock_tools(tool: str, lock: Path, cli: Cli, tmp_path: Path) -> None:
    cli("export", "-f", "pylock", "-o", "pylock.toml")
    assert Path("pylock.toml").read_text().count("\n    {") > 50
    target = TestEnvironment(tmp_path / "target")
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(TEST_HOME / "pip-cache")}
    environ["UV_CACHE_DIR"] = str(TEST_HOME / "uv-cache")
    install = [sys.executable, "-m", "pip", "--python", target.python, "install", "-q", "-r", "pylock.toml"]
    sync = [get_uv(), "pip", "sync", "-q", "--python", target.python, "pylock.toml"]
    subprocess.run(install if tool == "pip" else sync, check=True, env=environ)
    here = look_here(Machine.here(cache=str(cli.cache)), target.python)
    assert [(each.name, each.version) for each in here.distributions] == [
        (each.name, each.version) for each in load_lock(lock).snapshot.distributions
    ]
    assert "0 distributions" not in cli("lock", "pylock.toml", "--check").stdout
