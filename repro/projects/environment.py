"""Make the environment that was chosen for a run: lock its loose files once, and restore the lock.

Most runs use the caller's own: what locks and restores is imported where that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.snapshot import write_lock
from repro.errors import ReproError, UsageError
from repro.formats.lockfile import FILE_NAME
from repro.projects.env_manager import Choice, LockedEnvironment, LooseEnvironment
from repro.projects.managers import EnvManager
from repro.values import frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.lock import LockRequest
    from repro.environments.loose import LooseLock
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


def _make_lock_request(file: Path, request: EnvironmentRequest) -> LockRequest:
    from repro.environments.lock import LockRequest
    from repro.formats.moment import parse_moment

    return LockRequest(
        files=(file,),
        python=request.python,
        engine="uv" if request.manager is EnvManager.UV else None,
        before=parse_moment(request.as_of) if request.as_of else None,
        more=_read_more(request.more),
        of_period=True,
    )


def check_choice(machine: Machine, choice: Choice, request: EnvironmentRequest) -> None:
    """Look whether the files and words that say what the environment is can be read, before a run exists.

    Raises UsageError, and ProjectError with every fault, each with file and line.
    """
    if isinstance(choice, LooseEnvironment):
        from repro.environments.loose import check_files

        check_files(machine, _make_lock_request(choice.file, request))
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
    from repro.environments.pkg_resources import MODULE, find_importer, has_pkg_resources
    from repro.projects.undeclared import find_undeclared

    if has_pkg_resources(environment.path):
        return None
    own = request.script and find_undeclared(request.root, request.script, has=lambda name: name != MODULE)
    return own[0].file if own else find_importer(environment.path)


def _add_pkg_resources(
    machine: Machine, locked: LooseLock, asked: LockRequest, importer: str, say: Callable[[str], None]
) -> LooseLock:
    """Lock again with a setuptools that has `pkg_resources`, and remember that for these files."""
    from repro.environments.loose import lock_once, remember
    from repro.environments.pkg_resources import MODULE, REQUIRED

    try:
        better = lock_once(machine, replace(asked, more=(*asked.more, REQUIRED)))
    except ReproError as error:
        say(f"warning: `{importer}` imports `{MODULE}`, which no lock of these files has: {error.message}")
        return locked
    say(f"warning: `{importer}` imports `{MODULE}`, which nothing asks for: `{REQUIRED.text}` is added to the lock")
    remember(locked.path, better.snapshot)
    return replace(locked, snapshot=better.snapshot)


def _make_loose(
    machine: Machine, file: Path, request: EnvironmentRequest, say: Callable[[str], None]
) -> MadeEnvironment:
    from repro.environments.loose import lock_once

    asked = _make_lock_request(file, request)
    locked = lock_once(machine, asked)
    for note in locked.notes:
        say(f"warning: {note}")
    environment = _restore(machine, locked.path, request)
    is_new = locked.is_new or not environment.reused
    if is_new and (importer := _find_importer(environment, request)):
        locked = _add_pkg_resources(machine, locked, asked, importer, say)
        environment = _restore(machine, locked.path, request)
    if request.write_lock:
        write_lock(locked.snapshot, request.root / FILE_NAME)
    elif locked.is_new:
        count = len(locked.snapshot.distributions)
        say(f"`{file.name}` is locked: {count} distributions; `--write-lock` makes that the project's {FILE_NAME}")
    return MadeEnvironment(environment=environment, lock=locked.path)


def make_environment(
    machine: Machine,
    choice: LockedEnvironment | LooseEnvironment,
    request: EnvironmentRequest,
    say: Callable[[str], None],
) -> MadeEnvironment:
    """Restore the environment that was chosen; `say` gets warnings.

    Raises RestoreError and the like where it cannot be made.
    """
    match choice:
        case LooseEnvironment(file=file):
            made = _make_loose(machine, file, request, say)
        case LockedEnvironment(lock=lock):
            made = MadeEnvironment(environment=_restore(machine, lock, request), lock=lock)
    for sentence in made.environment.notes:
        say(f"warning: {sentence}")
    return made
