"""A run's snapshot is recalled where nothing has changed that it depends on, and taken anew where anything has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import LocalIndex, TestEnvironment, make_project

from repro.environments.machine import Machine
from repro.environments.run_take import take_for_run
from repro.environments.snapshot import Outcome, take_for, write_lock


class Taker:
    """Take snapshots for a lock at `path`, and note the commands that were started for the last one."""

    def __init__(self, environment: TestEnvironment, cache: Path, path: Path) -> None:
        self.environment = environment
        self.path = path
        self.started: list[str] = []
        self.machine = Machine.here(cache=str(cache), echo=self.started.append)

    def take(self) -> Outcome:
        self.started.clear()
        return take_for_run(self.machine, self.environment.python, path=self.path)

    def take_twice(self) -> Outcome:
        """Take it so that the next one is recalled."""
        write_lock(self.take().taken.snapshot, self.path)
        return self.take()


@pytest.fixture
def taker(environment: TestEnvironment, cache: Path, tmp_path: Path) -> Taker:
    return Taker(environment, cache, tmp_path / "requirements-lock.txt")


def test_what_is_recalled_starts_no_process_and_is_what_would_be_taken(taker: Taker) -> None:
    taker.take_twice()
    recalled = taker.take()
    assert taker.started == []
    taken = take_for(taker.machine, taker.environment.python, path=taker.path)
    assert taker.started
    stated = replace(taken.taken.snapshot, stated_digest=recalled.taken.snapshot.stated_digest)
    assert recalled.taken.snapshot == stated
    assert recalled.taken.found == taken.taken.found
    assert (recalled.taken.python, recalled.taken.prefix) == (taken.taken.python, taken.taken.prefix)
    assert recalled.notes == taken.notes


def test_what_was_noted_is_noted_again(taker: Taker, index: LocalIndex) -> None:
    index.add("beta", "0.9")
    taker.environment.install("beta==0.9")
    notes = taker.take_twice().notes
    assert any("`alpha` needs `beta" in note for note in notes)
    assert taker.take().notes == notes
    assert taker.started == []


def edit_in_place(taker: Taker) -> None:
    file = next(taker.environment.site.glob("alpha*/__init__.py"), None) or taker.environment.site / "alpha.py"
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"1.0", b"9.9"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def damage_memory(taker: Taker) -> None:
    for file in Path(taker.machine.store.room("takes")).iterdir():
        file.write_text('{"snapshot": "# repro", "python": 1}')


CHANGES: dict[str, Callable[[Taker], object]] = {
    "a distribution is installed": lambda taker: taker.environment.install("beta==2.1"),
    "a file is edited and its time set back": edit_in_place,
    "another lock stands there": lambda taker: taker.path.write_text("alpha==1.0\n"),
    "the memory is damaged": damage_memory,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_it_is_taken_anew_where(change: Callable[[Taker], object], taker: Taker) -> None:
    taker.take_twice()
    taker.take()
    assert taker.started == []
    change(taker)
    anew = taker.take().taken.snapshot
    assert taker.started
    assert anew == take_for(taker.machine, taker.environment.python, path=taker.path).taken.snapshot


def test_what_lies_in_the_store_alone_is_looked_at_each_time(taker: Taker, tmp_path: Path) -> None:
    taker.environment.install(str(make_project(tmp_path / "zeta", "zeta", "1.0")))
    kept = [each.name for each in taker.take_twice().taken.snapshot.distributions if each.kept]
    assert kept == ["zeta"]
    taker.take()
    assert taker.started
