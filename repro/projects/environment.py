"""Make the environment that was chosen for a run: lock its loose files once, and restore the lock.

Most runs use the caller's own: what locks and restores is imported where that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.snapshot import write_lock
from repro.errors import UsageError
from repro.formats.lockfile import FILE_NAME
from repro.projects.env_manager import Choice, GuessedEnvironment, LockedEnvironment, LooseEnvironment, Restored
from repro.projects.managers import EnvManager
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.lock import LockRequest
    from repro.environments.loose import LooseLock
    from repro.formats.lockfile import Snapshot
    from repro.formats.wanted import Required


@frozen
class EnvironmentRequest:
    """What a caller asks of the environment of a run, for a project at `root` and a Python `script` relative to it.

    `as_of` is the day whose index loose files are locked with, `more` are requirements beside theirs. With
    `write_lock` their lock becomes the project's.
    """

    root: Path
    script: Path | None = None
    manager: EnvManager | None = None
    python: str | None = None
    as_of: str | None = None
    more: tuple[str, ...] = ()
    write_lock: bool = False
    offline: bool = False


@frozen
class MadeEnvironment:
    """The environment, and the lock it was made of, which may lie in the store."""

    environment: Environment
    lock: Path


def _read_more(texts: tuple[str, ...]) -> tuple[Required, ...]:
    from repro.formats.loose_requirements import parse_requirement
    from repro.formats.wanted import Place

    place = Place(file="--with")
    try:
        return tuple(parse_requirement(text, place=place) for text in texts)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from error


def _make_lock_request(files: tuple[Path, ...], request: EnvironmentRequest) -> LockRequest:
    from repro.environments.lock import LockRequest
    from repro.formats.moment import parse_moment

    return LockRequest(
        files=files,
        python=request.python,
        engine="uv" if request.manager is EnvManager.UV else None,
        before=parse_moment(request.as_of) if request.as_of else None,
        more=_read_more(request.more),
        of_period=True,
        root=None if files else request.root,
    )


def check_choice(machine: Machine, choice: Choice, request: EnvironmentRequest) -> None:
    """Look whether the files and words that say what the environment is can be read, before a run exists.

    What is guessed must be no module that the project itself lacks, where nothing is named beside it.

    Raises UsageError, and ProjectError with every fault, each with file and line.
    """
    if isinstance(choice, LooseEnvironment):
        from repro.environments.loose import check_files

        check_files(machine, _make_lock_request((choice.file,), request))
    elif isinstance(choice, GuessedEnvironment):
        from repro.projects.guessed_lock import refuse_own_names

        _make_lock_request((), request)
        if not request.more:
            refuse_own_names(choice.guesses, choice.code)
    elif request.more:
        what = f"`{choice.lock}` is a lock" if isinstance(choice, LockedEnvironment) else "nothing is restored"
        raise UsageError(f"`--with` adds to what loose files ask for, and {what}", hint="leave `--with` out")
    elif request.as_of:
        from repro.formats.moment import parse_moment

        parse_moment(request.as_of)


def _restore(machine: Machine, lock: Path, request: EnvironmentRequest) -> Environment:
    from repro.environments.sound import find_sound

    if found := find_sound(machine, lock, python=request.python):
        return found
    from repro.environments.restore import Check, Request, restore_environment

    engine = request.manager.engine if request.manager else None
    wanted = Request(lock=lock, python=request.python, offline=request.offline, check=Check.FILES, engine=engine)
    return restore_environment(machine, wanted)


def _find_importer(environment: Environment, request: EnvironmentRequest) -> str | None:
    """Return what imports `pkg_resources` in vain: the project's script, else what is installed."""
    from repro.environments.pkg_resources import MODULE, find_importer
    from repro.projects.undeclared import find_undeclared

    own = request.script and find_undeclared(request.root, request.script, has=lambda name: name != MODULE)
    return own[0].file if own else find_importer(environment.path)


@frozen
class _Wish:
    """What was locked of what was asked; `name` says what that is, for people."""

    asked: LockRequest
    locked: LooseLock
    name: str


def _make_of_wish(
    machine: Machine, wish: _Wish, request: EnvironmentRequest, say: Callable[[str], None]
) -> MadeEnvironment:
    """Restore a lock that nobody has written, with what its environment turns out to lack; offer it to the project."""
    from repro.environments.loose_restore import restore_loose

    made = restore_loose(
        machine,
        wish.asked,
        wish.locked,
        lambda lock: _restore(machine, lock, request),
        say,
        find_user=lambda environment: _find_importer(environment, request),
    )
    locked = made.locked
    if request.write_lock:
        write_lock(locked.snapshot, request.root / FILE_NAME)
    elif locked.is_new:
        count = len(locked.snapshot.distributions)
        say(f"{wish.name} is locked: {count} distributions; `--write-lock` makes that the project's {FILE_NAME}")
    return MadeEnvironment(environment=made.environment, lock=locked.path)


def _lock_loose(machine: Machine, file: Path, request: EnvironmentRequest, say: Callable[[str], None]) -> _Wish:
    from repro.environments.loose_restore import lock_loose

    asked = _make_lock_request((file,), request)
    return _Wish(asked=asked, locked=lock_loose(machine, asked, say), name=f"`{file.name}`")


def _name_guesses(choice: GuessedEnvironment, snapshot: Snapshot) -> str:
    """Return what was guessed and is locked, for people."""
    there = {each.name for each in snapshot.distributions}
    names = [str(each) for each in choice.guesses if each.distribution in there]
    if not names:
        return f"{choice.code} imports nothing that must be installed"
    return f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} guessed from what {choice.code} imports"


def _lock_guess(
    machine: Machine, choice: GuessedEnvironment, request: EnvironmentRequest, say: Callable[[str], None]
) -> _Wish:
    from repro.projects.guess import demand_nothing
    from repro.projects.guessed_lock import find_last_day, lock_guesses

    asked = _make_lock_request((), request)
    guesses = demand_nothing(choice.guesses) if request.more else choice.guesses
    day = None if request.as_of else find_last_day(request.root)
    found = lock_guesses(machine, asked, guesses, code=choice.code, day=day)
    when = f", as of {found.day}, the day of its last commit" if found.day else ""
    guessed = _name_guesses(choice, found.locked.snapshot)
    say(f"warning: `{request.root}` has no file that says what it needs: {guessed}{when}")
    for note in (*found.notes, *found.locked.notes):
        say(f"warning: {note}")
    return _Wish(asked=asked, locked=found.locked, name="that")


def make_environment(
    machine: Machine,
    choice: Restored,
    request: EnvironmentRequest,
    say: Callable[[str], None],
) -> MadeEnvironment:
    """Restore the environment that was chosen; `say` gets warnings.

    Raises RestoreError and the like where it cannot be made.
    """
    match choice:
        case LooseEnvironment(file=file):
            made = _make_of_wish(machine, _lock_loose(machine, file, request, say), request, say)
        case GuessedEnvironment():
            made = _make_of_wish(machine, _lock_guess(machine, choice, request, say), request, say)
        case LockedEnvironment(lock=lock):
            made = MadeEnvironment(environment=_restore(machine, lock, request), lock=lock)
    for sentence in made.environment.notes:
        say(f"warning: {sentence}")
    return made
