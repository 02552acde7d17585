"""The one command that mends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from repro.formats.direct_url import Editable, Index, Local
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.snapshots.drift import compare
from repro.snapshots.gaps import Gap, GapKind, Needs
from repro.snapshots.mend import Place, advise, advise_snapshot

PYTHON = Interpreter(implementation="cpython", version="3.11.7", abi="cp311", platform="linux-x86_64")
PLACE = Place(lock="my project", python="/env/bin/python")
INSTALL = "/env/bin/python -m pip install"
RESTORE = "repro restore 'my project'"
PIP = Distribution(name="pip", version="26.0")
PINS = [Distribution(name=name, version="1.0", record="sha256:" + "a" * 64) for name in "abcdef"]


@pytest.fixture(autouse=True)
def project() -> None:
    Path("my project").mkdir()


def snapshot(*distributions: Distribution, python: Interpreter = PYTHON) -> Snapshot:
    return Snapshot(interpreter=python, distributions=distributions)


def make_gap(distribution: str, kind: GapKind, *, is_known: bool = True) -> Gap:
    return Gap(
        module=distribution, kind=kind, distribution=distribution, is_known=is_known, version=None, places=("a.py:1",)
    )


def mend(before: Snapshot, after: Snapshot, *gaps: Gap, imported: str = "") -> str | None:
    needs = Needs(imported=frozenset(imported), gaps=gaps)
    return advise(compare(before, after), needs, here=after, place=PLACE)


def test_what_agrees_needs_no_command() -> None:
    assert mend(snapshot(*PINS, PIP), snapshot(*PINS, PIP)) is None


def test_few_other_versions_are_installed_one_by_one() -> None:
    other = [replace(pin, version="2.0") for pin in PINS[:2]]
    assert mend(snapshot(*PINS, PIP), snapshot(*other, *PINS[2:], PIP)) == f"{INSTALL} --no-deps a==1.0 b==1.0"
    assert mend(snapshot(*PINS), snapshot(*PINS[1:])) == "pip --python /env/bin/python install --no-deps a==1.0"


def test_other_files_of_the_same_version_are_installed_again() -> None:
    other = replace(PINS[0], record="sha256:" + "b" * 64)
    assert mend(snapshot(PINS[0], PIP), snapshot(other, PIP)) == f"{INSTALL} --no-deps --force-reinstall a==1.0"


def test_many_are_restored_and_so_is_another_python() -> None:
    assert mend(snapshot(*PINS, PIP), snapshot(*PINS[4:], PIP)) == RESTORE
    other = replace(PYTHON, version="3.12.1", abi="cp312")
    assert mend(snapshot(*PINS), snapshot(*PINS, python=other)) == RESTORE


@pytest.mark.parametrize(
    "change",
    [{"source": Editable()}, {"source": Local()}, {"kept": True}, {"source": Index(url="https://example.org")}],
)
def test_what_name_and_version_do_not_give_is_restored(change: dict[str, object]) -> None:
    locked = replace(PINS[0], **change)  # type: ignore[arg-type]
    assert mend(snapshot(locked, PIP), snapshot(PIP)) == RESTORE


def test_an_environment_that_only_has_more_is_locked() -> None:
    assert mend(snapshot(PIP), snapshot(PINS[0], PIP)) == "repro snapshot 'my project'"


def test_code_that_needs_what_the_lock_lacks_is_mended_by_a_new_lock() -> None:
    gap = make_gap("x", GapKind.UNLOCKED)
    assert mend(snapshot(*PINS, PIP), snapshot(*PINS, PIP), gap) == "repro snapshot 'my project'"


def test_what_is_missing_is_installed_first_where_it_is_known_and_never_on_a_guess() -> None:
    known, guess = make_gap("torch", GapKind.MISSING), make_gap("company", GapKind.MISSING, is_known=False)
    here = snapshot(*PINS, PIP)
    assert mend(here, here, known, guess) == f"{INSTALL} torch && repro snapshot 'my project'"
    assert mend(here, here, guess) == "repro snapshot 'my project'"


def test_what_the_code_imports_is_not_lost_by_the_new_lock() -> None:
    gap = make_gap("x", GapKind.UNLOCKED)
    command = mend(snapshot(*PINS, PIP), snapshot(*PINS[2:], PIP), gap, imported="a")
    assert command == f"{INSTALL} a==1.0 && repro snapshot 'my project'"


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        (".", "repro snapshot ."),
        ("requirements-lock.txt", "repro snapshot ."),
        ("sub/requirements-lock.txt", "repro snapshot sub"),
        ("sub/other.txt", "repro snapshot -o sub/other.txt"),
    ],
)
def test_the_lock_is_named_as_the_user_has_named_it(lock: str, command: str) -> None:
    assert advise_snapshot(Place(lock=lock, python="/p")) == command
    assert advise_snapshot(Place(lock=lock, python="/p", is_given=True)) == f"{command} --python /p"
