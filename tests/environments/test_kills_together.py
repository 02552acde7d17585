"""Ten processes restore three keys at once, and some are killed at random moments: nothing is built twice or left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from faults import (
    TOKEN,
    check_store,
    list_environments,
    open_store,
    pick_seed,
    start_paused,
    take_lock,
    wait_for_no_process,
)

from repro.environments.store import Store
from repro.files import remove_tree

pytestmark = pytest.mark.faults

PROCESSES = 10
ROUNDS = 60 if os.environ.get("REPRO_TEST_ALL") else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """One process: the key it restores, and when it is killed, in seconds after the start; None where it is not."""

    key: str
    process: subprocess.Popen[str]
    killed_after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one ended: the process, its key, exit code, and what it wrote."""

    pid: int
    key: str
    code: int
    stdout: str
    stderr: str


def take_away(rng: random.Random, store: Store, keys: Sequence[str]) -> None:
    """Remove two environments or all three, and some trees and wheels."""
    for key in rng.sample(sorted(keys), rng.choice([2, 3])):
        remove_tree(store.room("envs", key))
    for sha256 in sorted(os.listdir(store.room("wheels"))):
        if rng.random() < 0.6:
            remove_tree(store.room("trees", sha256))
            if rng.random() < 0.6:
                remove_tree(store.room("wheels", sha256))


def start_all(rng: random.Random, cli: Cli, locks: dict[str, Path], log: Path, width_s: float) -> list[Restorer]:
    """Start the processes, each key's among them, in random order; a third to two thirds are to be killed."""
    keys = [sorted(locks)[number % len(locks)] for number in range(PROCESSES)]
    rng.shuffle(keys)
    victims = set(rng.sample(range(PROCESSES), rng.randint(PROCESSES // 3, 2 * PROCESSES // 3)))
    return [
        Restorer(
            key=key,
            process=start_paused(cli, "restore", str(locks[key]), "--json", log=log),
            killed_after_s=rng.uniform(0, width_s) if number in victims else None,
        )
        for number, key in enumerate(keys)
    ]


def kill_some(restorers: Sequence[Restorer], started: float) -> None:
    """Kill each victim at its moment."""
    victims = [each for each in restorers if each.killed_after_s is not None]
    for each in sorted(victims, key=lambda each: each.killed_after_s or 0):
        time.sleep(max(0, started + (each.killed_after_s or 0) - time.monotonic()))
        each.process.kill()


def await_end(restorer: Restorer) -> Ended:
    stdout, stderr = restorer.process.communicate()
    process = restorer.process
    return Ended(pid=process.pid, key=restorer.key, code=process.returncode, stdout=stdout, stderr=stderr)


def read_log(log: Path) -> list[tuple[int, str, str]]:
    """Return process, deed, and of what, of each line."""
    if not log.exists():
        return []
    lines = (line.split(" ") for line in log.read_text().splitlines())
    return [(int(pid), deed, what) for pid, deed, what in lines]


def check_no_double_builds(lines: Sequence[tuple[int, str, str]], killed: set[int]) -> int:
    """Fail unless whatever was begun twice was begun again after a kill alone, and return how much was begun."""
    ended = {(pid, what) for pid, deed, what in lines if deed == "ends"}
    begun: dict[tuple[str, str], list[int]] = {}
    for pid, deed, what in lines:
        if deed in ("begins", "unpacks"):
            begun.setdefault((deed, what), []).append(pid)
    for (deed, what), pids in begun.items():
        assert len(set(pids)) == len(pids), f"a process {deed} {what} twice"
        for pid in pids[:-1]:
            assert pid in killed, f"{what} was begun again although {pid} did it"
            assert (pid, what) not in ended, f"{what} was begun again although {pid} had ended it"
    return sum(map(len, begun.values()))


def check_after(cli: Cli, store: Store, locks: dict[str, Path], all_ended: Sequence[Ended]) -> None:
    """Fail unless those that were not killed have the one environment of their key, and it is good."""
    for key, lock in locks.items():
        paths = {json.loads(each.stdout)["path"] for each in all_ended if each.key == key and each.code == 0}
        outcome = json.loads(cli("restore", str(lock), "--json", "--verify").stdout)
        assert outcome["sound"]
        assert outcome["reused"] or not paths
        assert paths <= {outcome["path"]}
        assert [path for path in list_environments(store) if path.parent.name == key] == [Path(outcome["path"])]


def check_nothing_left(cli: Cli, store: Store, locks: dict[str, Path]) -> None:
    """Fail unless the next build finds nothing, or takes away what it finds."""
    key = min(locks)
    remove_tree(store.room("envs", key))
    cli("restore", str(locks[key]))
    check_store(store)
    wait_for_no_process(TOKEN)


@pytest.fixture
def locks(tmp_path: Path, index: LocalIndex, cli: Cli) -> dict[str, Path]:
    """Three locks that share wheels, by the key of their environment."""
    for name in ("alpha", "beta", "gamma-ray"):
        package = f"{name.replace('-', '_')}s"
        index.add(name, "9.0", files={f"{package}/m{number}.py": f"N = {number}\n" for number in range(40)})
    found = {}
    for names in (("alpha", "beta"), ("beta", "gamma-ray"), ("alpha", "beta", "gamma-ray")):
        project = tmp_path / "-".join(names)
        environment = TestEnvironment(project / "env").install(*(f"{name}==9.0" for name in names))
        lock = take_lock(environment.python, project / "requirements-lock.txt")
        found[json.loads(cli("restore", str(lock), "--json").stdout)["key"]] = lock
    index.delay_s = 0.05
    return found


def test_ten_processes_of_which_some_are_killed_build_each_environment_once(
    locks: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    seed = pick_seed()
    rng = random.Random(seed)
    store = open_store(cli.cache)
    width_s, kills, begun = 4.0, 0, 0
    for number in range(ROUNDS):
        log = tmp_path / f"log-{number}"
        take_away(rng, store, sorted(locks))
        started = time.monotonic()
        restorers = start_all(rng, cli, locks, log, width_s)
        kill_some(restorers, started)
        all_ended = [await_end(each) for each in restorers]
        width_s = (width_s + time.monotonic() - started) / 2
        killed = {each.pid for each in all_ended if each.code == -9}
        kills += len(killed)
        where = f"seed {seed}, round {number}"
        begun += check_no_double_builds(read_log(log), killed)
        print(f"{where}: {kills} killed, {begun} built and unpacked", flush=True)
        assert [each.stderr for each in all_ended if each.code not in (0, -9)] == [], where
        check_after(cli, store, locks, all_ended)
        check_nothing_left(cli, store, locks)
    assert kills
    assert begun
