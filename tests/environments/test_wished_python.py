from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import pytest

from repro.environments.interpreters import Candidate
from repro.environments.wished_python import choose_of_period
from repro.formats.lockfile import Interpreter
from repro.formats.wanted import Place, PythonWish


def make_candidate(version: str, implementation: str = "cpython") -> Candidate:
    minor = "".join(version.split(".")[:2])
    python = Interpreter(implementation=implementation, version=version, abi=f"cp{minor}", platform="linux_x86_64")
    return Candidate(path=f"/pythons/{implementation}-{version}", interpreter=python)


class FewPythons:
    """A machine, and its finder, on which the first of these Pythons is active."""

    def __init__(self, *candidates: Candidate, environ: Mapping[str, str] | None = None) -> None:
        self.candidates = candidates
        self.environ = environ or {"PATH": "/nonexistent"}

    def make_finder(self) -> FewPythons:
        return self

    def examine(self, path: str) -> Candidate:
        return self.candidates[0]

    def list_all(self) -> list[Candidate]:
        return list(self.candidates)


PYTHONS = (*map(make_candidate, ("3.13.0", "3.8.18", "3.9.18", "3.10.13")), make_candidate("3.10.14", "pypy"))


def choose(machine: FewPythons, day: str, *wishes: PythonWish) -> str | None:
    before = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
    found = choose_of_period(machine, wishes, before)  # type: ignore[arg-type]
    return found.interpreter.version if found else None


@pytest.mark.parametrize(
    ("day", "version"),
    [("2022-08-15", "3.10.13"), ("2021-06-30", "3.9.18"), ("2010-01-01", None), ("2026-01-01", None)],
)
def test_the_newest_python_that_was_in_use_is_chosen(day: str, version: str | None) -> None:
    assert choose(FewPythons(*PYTHONS), day) == version


def test_a_range_of_the_files_holds_for_an_old_day_too() -> None:
    wish = PythonWish(range="<3.9", place=Place(file="pyproject.toml"))
    assert choose(FewPythons(*PYTHONS), "2022-08-15", wish) == "3.8.18"


def test_a_python_that_is_named_is_not_replaced() -> None:
    named = PythonWish(version="3.13", place=Place(file="conda.yaml"))
    assert choose(FewPythons(*PYTHONS), "2022-08-15", named) is None
    own = FewPythons(*PYTHONS, environ={"MLFLOW_PYTHON_BIN": "/pythons/own"})
    assert choose(own, "2022-08-15") is None
