"""Kill restores at random moments of every phase, alone and together: each leaves a store that the next one can use."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import TEST_HOME, Cli, LocalIndex, TestEnvironment
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

from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.store import Store
from repro.files import remove_tree

pytestmark = pytest.mark.faults

PHASES = ("fetch", "unpack", "verify", "link", "publish")


class Round:
    """One restore that is killed: what it must fetch and unpack first, and in which phase it is, as the disk tells."""

    def __init__(self, store: Store, key: str, wheels: set[str]) -> None:
        self._store = store
        self._env = Path(store.room("envs", key))
        self._wheels = wheels

    def prepare(self, rng: random.Random, phase: str) -> None:
        """Take the environment away, a tree or a few, and their wheels where these are to be fetched."""
        remove_tree(self._env)
        for sha256 in rng.sample(sorted(self._wheels), 3 if phase in ("fetch", "unpack") else 1):
            remove_tree(self._store.room("trees", sha256))
            if phase == "fetch":
                remove_tree(self._store.room("wheels", sha256))

    def _is_unpacking(self) -> bool:
        return any(len(path.name) == 64 for path in Path(self._store.room("tmp")).glob("*/*"))

    def _lacks(self, room: str) -> bool:
        return any(not os.path.isdir(self._store.room(room, sha256)) for sha256 in self._wheels)

    def _has_links(self) -> bool:
        """Tell whether a distribution is there: the empty environment is made while the wheels are fetched."""
        places = self._env.glob("*/lib/python*/site-packages/*")
        return any(not path.name.startswith("_virtualenv") for path in places)

    def tell_phase(self) -> str:
        """Return the phase; between the last tree and the first file of the environment, the lock is verified."""
        if any(self._env.glob(f"*/{MANIFEST}")):
            return "publish"
        if self._has_links():
            return "link"
        if self._lacks("wheels"):
            return "unpack" if self._is_unpacking() else "fetch"
        return "unpack" if self._lacks("trees") else "verify"


def kill_at_random(round_: Round, process: subprocess.Popen[str], phase: str, delay_s: float) -> str | None:
    """Kill a restore some time after a phase began, and return the phase it was in; None where it had ended."""
    order = PHASES.index(phase)
    while process.poll() is None and PHASES.index(round_.tell_phase()) < order:
        time.sleep(0.0005)
    time.sleep(delay_s)
    process.kill()
    _, stderr = process.communicate()
    if process.returncode != -9:
        return None
    hit = round_.tell_phase()
    return "link" if hit == "verify" and "assembling" in stderr else hit


def kill_many(cli: Cli, lock: Path, *, total: int, each: int, seed: int) -> Counter[str]:
    """Kill restores until there were `total`, and `each` in each phase; after each one all must be well."""
    rng = random.Random(seed)
    key = json.loads(cli("restore", str(lock), "--json").stdout)["key"]
    store = open_store(cli.cache)
    round_ = Round(store, key, set(os.listdir(store.room("wheels"))))
    width_s = dict.fromkeys(PHASES, 0.2)
    hits: Counter[str] = Counter()
    tries = 0
    while hits.total() < total or min(hits[phase] for phase in PHASES) < each:
        tries += 1
        assert tries < 4 * total, f"seed {seed}: only {hits}"
        phase = min(PHASES, key=lambda name: hits[name])
        round_.prepare(rng, phase)
        hit = kill_at_random(round_, start_paused(cli, "restore", str(lock)), phase, rng.uniform(0, width_s[phase]))
        width_s[phase] *= 1.1 if hit == phase else 0.7
        if hit:
            hits[hit] += 1
        print(f"seed {seed}, try {tries}: {dict(hits)}", flush=True)
        where = f"seed {seed}, try {tries}, aimed at {phase}, hit {hit}"
        outcome = json.loads(cli("restore", str(lock), "--json", "--verify").stdout)
        assert outcome["sound"], where
        assert list_environments(store) == [Path(outcome["path"])], where
        check_store(store)
        wait_for_no_process(TOKEN)
    return hits


def test_a_restore_killed_in_any_phase_is_followed_by_a_good_one(tmp_path: Path, index: LocalIndex, cli: Cli) -> None:
    files = {f"PACKAGE/m{number}.py": f"N = {number}\n" for number in range(150)}
    names = ("alpha", "beta", "gamma-ray")
    for name in names:
        index.add(
            name,
            "9.0",
            files={path.replace("PACKAGE", name.replace("-", "_") + "s"): text for path, text in files.items()},
        )
    index.delay_s = 0.05
    environment = TestEnvironment(tmp_path / "many").install(*(f"{name}==9.0" for name in names))
    lock = take_lock(environment.python, tmp_path / "project" / "requirements-lock.txt")
    seed = pick_seed()
    hits = kill_many(cli, lock, total=10, each=1, seed=seed)
    assert set(hits) == set(PHASES)


@pytest.fixture(scope="session")
def science_wheels(science: TestEnvironment) -> list[Path]:
    """The wheels of the science environment, once from the real index: made before a test names a local one."""
    cli = Cli(TEST_HOME / "faults-cache")
    cli.cache.mkdir(exist_ok=True)
    lock = take_lock(science.python, TEST_HOME / "faults-science" / "requirements-lock.txt")
    cli("restore", str(lock))
    return sorted(Path(open_store(cli.cache).room("wheels")).glob("*/*.whl"))


@pytest.fixture
def science_index(science_wheels: list[Path], index: LocalIndex) -> LocalIndex:
    """The local index with these wheels."""
    shutil.rmtree(index.root / "simple")
    for wheel in science_wheels:
        place = index.root / "simple" / wheel.name.partition("-")[0].lower().replace("_", "-")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel, place / wheel.name)
    return index


@pytest.mark.index
@pytest.mark.xdist_group("real")
@pytest.mark.skipif(not os.environ.get("REPRO_TEST_ALL"), reason="REPRO_TEST_ALL is not set: a quarter of an hour")
def test_two_hundred_kills_of_a_real_restore_leave_nothing(
    science_index: LocalIndex, science: TestEnvironment, cli: Cli, tmp_path: Path
) -> None:
    lock = take_lock(science.python, tmp_path / "project" / "requirements-lock.txt")
    seed = pick_seed()
    hits = kill_many(cli, lock, total=200, each=25, seed=seed)
    assert hits.total() >= 200
    assert min(hits.values()) >= 25
