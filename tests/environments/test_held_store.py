"""What uses the store's trees and wheels holds them, also where it makes no sealed environment of them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment
from faults import open_store, start_paused, take_lock

LONG_AGO = 1_000_000_000


@pytest.fixture
def lock(environment: TestEnvironment, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock that was restored long ago: a prune removes all that the store has of it."""
    path = take_lock(environment.python, tmp_path / "project" / "requirements-lock.txt")
    cli("restore", str(path))
    for marker in cli.cache.rglob("repro-environment"):
        os.utime(marker, (LONG_AGO, LONG_AGO))
    monkeypatch.setenv("FAULTS_PAUSE_S", "1.5")
    return path


def prune_during(cli: Cli, log: Path, args: Sequence[str]) -> str:
    """Prune while a command has found its trees and not used them yet, and return what the prune says."""
    process = start_paused(cli, *args, log=log)
    while process.poll() is None and not (log.exists() and "pauses verify_trees" in log.read_text()):
        time.sleep(0.01)
    pruned = cli("cache", "prune")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stdout + stderr
    return pruned.stderr


def count_wheels(cli: Cli) -> int:
    return len(os.listdir(open_store(cli.cache).room("wheels")))


def test_a_prune_waits_for_a_private_environment(lock: Path, cli: Cli, tmp_path: Path) -> None:
    said = prune_during(cli, tmp_path / "log", ["restore", str(lock), "--into", "own"])
    assert "waiting" in said
    subprocess.run([Path("own/bin/python"), "-c", "import alpha, beta"], check=True)
    assert count_wheels(cli) == 0


def test_a_prune_waits_for_a_bundle(lock: Path, cli: Cli, tmp_path: Path) -> None:
    said = prune_during(cli, tmp_path / "log", ["bundle", str(lock), "-o", "all.zip"])
    assert "waiting" in said
    assert count_wheels(cli) == 0
    (tmp_path / "elsewhere").mkdir()
    Cli(tmp_path / "elsewhere")("restore", "all.zip")
