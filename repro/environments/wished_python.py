"""Choose the interpreter that a project's files ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repro.environments.interpreters import Candidate, Finder
from repro.environments.machine import Machine
from repro.errors import InterpreterNotFoundError
from repro.formats.wanted import PythonWish
from repro.settings import choose_python


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
    kind = otherwise.interpreter.implementation
    alike = (each for each in finder.list_all() if each.interpreter.implementation == kind)
    found = [each for each in alike if all(_is_granted(wish, each.interpreter.version) for wish in wishes)]
    return max(found, key=lambda each: _order(each.interpreter.version), default=otherwise)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


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
