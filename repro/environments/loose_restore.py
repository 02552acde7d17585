"""Restore what was locked of loose files, locked again with `pkg_resources` where something imports that in vain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repro.environments.lock import LockRequest
from repro.environments.lookup import Environment
from repro.environments.loose import LooseLock, lock_once, remember
from repro.environments.machine import Machine
from repro.environments.pkg_resources import MODULE, REQUIRED, find_importer, has_pkg_resources
from repro.errors import ReproError
from repro.values import frozen, replace


@frozen
class LooseRestore:
    """The environment, and the lock in the store that it was made of."""

    environment: Environment
    locked: LooseLock


def _find_importer(environment: Environment) -> str | None:
    return find_importer(environment.path)


def _add_pkg_resources(
    machine: Machine, locked: LooseLock, asked: LockRequest, importer: str, say: Callable[[str], None]
) -> LooseLock:
    """Lock again with a setuptools that has `pkg_resources`, and remember that for these files."""
    try:
        better = lock_once(machine, replace(asked, more=(*asked.more, REQUIRED)))
    except ReproError as error:
        say(f"warning: `{importer}` imports `{MODULE}`, which no lock of these files has: {error.message}")
        return locked
    say(f"warning: `{importer}` imports `{MODULE}`, which nothing asks for: `{REQUIRED.text}` is added to the lock")
    remember(locked.path, better.snapshot)
    return replace(locked, snapshot=better.snapshot)


def lock_loose(machine: Machine, asked: LockRequest, say: Callable[[str], None]) -> LooseLock:
    """Lock loose files once; `say` gets what the user should know of it. Raises what locking raises."""
    locked = lock_once(machine, asked)
    for note in locked.notes:
        say(f"warning: {note}")
    return locked


def restore_loose(
    machine: Machine,
    asked: LockRequest,
    locked: LooseLock,
    restore: Callable[[Path], Environment],
    say: Callable[[str], None],
    *,
    find_user: Callable[[Environment], str | None] = _find_importer,
) -> LooseRestore:
    """Have `restore` make the environment of what was asked and `locked`, with what it turns out to lack.

    `find_user` tells what imports `pkg_resources` in vain, `say` gets warnings. Raises what locking and restoring
    raise.
    """
    environment = restore(locked.path)
    is_new = locked.is_new or not environment.reused
    if is_new and not has_pkg_resources(environment.path) and (importer := find_user(environment)):
        locked = _add_pkg_resources(machine, locked, asked, importer, say)
        environment = restore(locked.path)
    return LooseRestore(environment=environment, locked=locked)
