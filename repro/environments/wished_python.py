"""Choose the interpreter that a project's files ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from repro.environments.interpreters import Candidate, Finder
from repro.environments.machine import Machine
from repro.errors import InterpreterNotFoundError
from repro.formats.python_release import is_in_use
from repro.formats.wanted import PythonWish
from repro.settings import choose_python, find_python


def _is_granted(wish: PythonWish, version: str) -> bool:
    from packaging.specifiers import SpecifierSet

    if wish.range is not None and not SpecifierSet(wish.range).contains(version, prereleases=True):
        return False
    return wish.version is None or wish.version.split(".")[:2] == version.split(".")[:2]


def _refuse_python(wishes: Iterable[PythonWish], candidate: Candidate) -> None:
    version = candidate.interpreter.version
    refused = [wish for wish in wishes if not _is_granted(wish, version)]
    if refused:
        raise InterpreterNotFoundError(
            f"Python {version} at `{candidate.path}` is not what is asked for",
            hint="name another with `--python PATH`",
            details=tuple(f"{wish.place}: Python {wish.version or wish.range}" for wish in refused),
        )


def _find_in_range(finder: Finder, wishes: Sequence[PythonWish], otherwise: Candidate) -> Candidate:
    """Return the newest interpreter of the same kind that every wish grants."""
    return max(_list_granted(finder, wishes, otherwise), key=_order, default=otherwise)


def _list_granted(finder: Finder, wishes: Sequence[PythonWish], alike: Candidate) -> list[Candidate]:
    """Return the interpreters of the same kind that every wish grants."""
    kind = alike.interpreter.implementation
    found = (each for each in finder.list_all() if each.interpreter.implementation == kind)
    return [each for each in found if all(_is_granted(wish, each.interpreter.version) for wish in wishes)]


def _order(candidate: Candidate) -> tuple[int, ...]:
    return tuple(int(part) for part in candidate.interpreter.version.split(".") if part.isdigit())


def choose_of_period(machine: Machine, wishes: Sequence[PythonWish], before: datetime) -> Candidate | None:
    """Return the newest interpreter that had been out for half a year: what an index had then has wheels for it.

    None where the active one is that old, where the user has named one or a file a version, and where none is here.
    """
    if find_python(machine.environ) or any(wish.version for wish in wishes):
        return None
    finder = machine.make_finder()
    active = finder.examine(choose_python(None, machine.environ))
    if is_in_use(active.interpreter.version, day=before.date()):
        return None
    found = _list_granted(finder, wishes, active)
    return max(
        (each for each in found if is_in_use(each.interpreter.version, day=before.date())), key=_order, default=None
    )


def choose_for(machine: Machine, given: str | None, wishes: Sequence[PythonWish]) -> tuple[Candidate, tuple[str, ...]]:
    """Return the interpreter to lock for: the one named or active, else one of the version that a file asks for.

    Where a file says a range, and the active one is not in it, the newest that is. Raises InterpreterNotFoundError
    where none has that X.Y.
    """
    finder = machine.make_finder()
    candidate = finder.examine(choose_python(given, machine.environ))
    wish = next((wish for wish in wishes if wish.version), None)
    if wish and wish.version and not given and wish.version != candidate.interpreter.version:
        found = finder.find_version(wish.version, implementation=candidate.interpreter.implementation)
        is_better = found and (
            found.interpreter.version == wish.version or not _is_granted(wish, candidate.interpreter.version)
        )
        candidate = found if found and is_better else candidate
    elif not given and not all(_is_granted(each, candidate.interpreter.version) for each in wishes):
        candidate = _find_in_range(finder, wishes, candidate)
    _refuse_python(wishes, candidate)
    version = candidate.interpreter.version
    notes = tuple(
        f"{wish.place} asks for Python {wish.version}; the lock is for {version}"
        for wish in wishes
        if wish.version and wish.version.count(".") == 2 and wish.version != version
    )
    return candidate, notes
