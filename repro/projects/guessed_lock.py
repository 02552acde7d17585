"""Lock what imports were guessed to ask for: as of the day that the code is of, where an index knows that day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from repro.environments.lock import LockRequest
from repro.environments.loose import LooseLock, find_locked, locate_lock, lock_once, remember
from repro.environments.machine import Machine
from repro.errors import ProjectError, ReproError
from repro.formats.moment import parse_moment
from repro.formats.wanted import Required
from repro.projects.guess import Guess
from repro.snapshots.pins import IndexUnreachableError
from repro.tracking.git_source import ask_git, find_repository
from repro.values import frozen, replace

_HINT = "name what has it: `--with DISTRIBUTION`, or write a requirements.txt"


@frozen
class GuessedLock:
    """The lock, and notes; `day` is the one it was chosen as of, where nobody has named one and it was made now."""

    locked: LooseLock
    day: str | None = None
    notes: tuple[str, ...] = ()


def find_last_day(root: Path) -> str | None:
    """Return the day of the last commit that has changed a directory, None where git knows none."""
    repository = find_repository(root.resolve())
    if repository is None:
        return None
    return (ask_git(repository, "log", "-1", "--format=%cs", "--", str(root.resolve())) or "").strip() or None


def _name_imports(guesses: Iterable[Guess]) -> str:
    return ", ".join(f"`{each.module}` ({each.place})" for each in guesses)


def refuse_own_names(guesses: Iterable[Guess], code: str) -> None:
    """Refuse imports of what is most likely the project's own, and not there. Raises ProjectError."""
    if own := [each for each in guesses if each.is_usual_own_name and each.certain]:
        raise ProjectError(
            f"{code} imports {_name_imports(own)}, most likely of the project's own, which has no such module",
            hint=_HINT,
        )


def _require(guess: Guess) -> Required:
    return Required(name=guess.distribution, text=guess.distribution, place=guess.place)


def _find_unknown(machine: Machine, guesses: Sequence[Guess], root: Path) -> tuple[Guess, ...]:
    """Return the guesses that no index has a file of; none where that cannot be told."""
    from repro.snapshots.index_client import IndexClient

    try:
        with IndexClient(machine.find_indexes(root), environ=machine.environ) as client:
            files = client.map(lambda each: client.list_project(each.distribution), guesses)
    except ReproError:
        return ()
    return tuple(each for each, found in zip(guesses, files, strict=True) if not found)


@frozen
class _Order:
    """What is to be locked: the guesses, beside what the request says; `code` names what was read."""

    machine: Machine
    asked: LockRequest
    guesses: tuple[Guess, ...]
    code: str

    @property
    def request(self) -> LockRequest:
        return replace(self.asked, more=(*map(_require, self.guesses), *self.asked.more))

    def without(self, unknown: tuple[Guess, ...]) -> _Order:
        return replace(self, guesses=tuple(each for each in self.guesses if each not in unknown))


def _refuse_unknown(unknown: Sequence[Guess], code: str) -> None:
    if needed := [each for each in unknown if each.certain]:
        raise ProjectError(
            f"{code} imports {_name_imports(needed)}, which no file declares and no index has anything named after",
            hint=_HINT,
        )


def _lock(order: _Order) -> tuple[LooseLock, tuple[Guess, ...]]:
    """Lock the guesses, those that no index has left out where the code may do without; return these too."""
    try:
        return lock_once(order.machine, order.request), ()
    except IndexUnreachableError:
        raise
    except ReproError:
        unknown = _find_unknown(order.machine, order.guesses, order.asked.place)
        _refuse_unknown(unknown, order.code)
        if not unknown:
            raise
    return lock_once(order.machine, order.without(unknown).request), unknown


def _lock_as_of(order: _Order, day: str) -> tuple[LooseLock, tuple[Guess, ...], str | None]:
    """Lock as of a day that nobody has named; where nothing fits so, as of now, and return why."""
    try:
        return *_lock(replace(order, asked=replace(order.asked, before=parse_moment(day)))), None
    except (IndexUnreachableError, ProjectError):
        raise
    except ReproError as error:
        return *_lock(order), f"nothing fits as of {day} ({error.message}): what the index has now is taken"


def lock_guesses(
    machine: Machine, asked: LockRequest, guesses: tuple[Guess, ...], *, code: str, day: str | None
) -> GuessedLock:
    """Return the lock of guesses, each a requirement beside those of `asked`; made once for all times.

    It is as of `day`, where `asked` is of none; where nothing fits so, as of now: a private index may have got all
    its files later. What no index has and the code may do without is left out. Raises ProjectError for what it
    cannot do without, and what `lock_requirements` raises.
    """
    own = tuple(each for each in guesses if each.is_usual_own_name)
    order = _Order(machine=machine, asked=asked, guesses=guesses, code=code).without(own)
    day = None if asked.before else day
    first = replace(order.request, before=parse_moment(day)) if day else order.request
    if known := find_locked(machine, first):
        return GuessedLock(locked=known)
    locked, unknown, why = _lock_as_of(order, day) if day else (*_lock(order), None)
    notes = [why] if why else []
    if left_out := (*own, *unknown):
        notes.append(f"{code} may import {_name_imports(left_out)}, and what has it is not known; {_HINT}")
    path = locate_lock(machine, first)
    remember(path, locked.snapshot)
    return GuessedLock(locked=replace(locked, path=path), day=None if why else day, notes=tuple(notes))
