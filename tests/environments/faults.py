"""What the tests of faults share: what a store must look like after one, and locks to restore."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from conftest import Cli

from repro.environments.machine import Machine
from repro.environments.snapshot import take_for, write_lock
from repro.environments.store import Store, locate_store

TOKEN = f"victim-{os.getpid()}-{random.getrandbits(32):08x}"
"""A word in the environment of every process that is to be killed, to find those that it has left."""


def pick_seed() -> int:
    """Return what random moments are drawn from: FAULTS_SEED replays those of another time."""
    return int(os.environ.get("FAULTS_SEED") or random.getrandbits(32))


def start_paused(cli: Cli, *args: str, log: Path | None = None) -> subprocess.Popen[str]:
    """Start the command so that it makes a pause before each of the short steps of a build (see paused_repro.py)."""
    environ = {**os.environ, "MLFLOW_SNAPSHOT_CACHE": str(cli.cache), "FAULTS_TOKEN": TOKEN}
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("paused_repro.py")), *args],
        env={**environ, "FAULTS_LOG": str(log)} if log else environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def open_store(cache: Path) -> Store:
    return Store(locate_store(str(cache)))


def take_lock(python: str, path: Path) -> Path:
    """Write the lock of an environment, with memories that are no part of the cache under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = Machine.here(cache=str(path.parent / "taken"))
    write_lock(take_for(machine, python, path=path).taken.snapshot, path)
    return path


def list_environments(store: Store) -> list[Path]:
    """Return every directory where an environment is or was on its way."""
    return [path for path in Path(store.room("envs")).glob("*/*") if path.is_dir() and not path.is_symlink()]


def check_store(store: Store) -> None:
    """Fail unless nothing half-made is in the store: no staging, no environment without marker, no damaged tree."""
    assert os.listdir(store.room("tmp")) == []
    assert [name for name in os.listdir(store.room("flocks")) if name.startswith("stage-")] == []
    assert [path for path in list_environments(store) if store.read_ready(str(path)) is None] == []
    assert list(Path(store.room("envs")).glob("*/*.tmp")) == []
    trees = store.open_trees()
    for name in os.listdir(store.room("trees")):
        tree = trees.find(name)
        assert tree
        assert tree.is_untouched()


def find_processes(word: str) -> list[int]:
    """Return the processes that have a word in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_for_no_process(word: str) -> None:
    """Fail where a process with a word in its environment goes on; the kernel may need a moment to end one."""
    deadline = time.monotonic() + 10
    while (left := find_processes(word)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
