"""Restore: make an environment of the store equal to a lock, or find the one that is.

Built in a fresh directory, verified against the lock, marked ready, and published by one replaced link, in that order;
a build that fails leaves nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from repro import settings
from repro.digests import sha256_hex
from repro.environments.interpreters import Candidate
from repro.environments.lookup import (
    Environment,
    find_ready,
    is_intact,
    look_up,
    make_environment,
    name_look,
    name_options,
    stamp_bundle,
)
from repro.environments.machine import Machine
from repro.environments.manifest import find_damage
from repro.environments.order import Order
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, find_stamp, format_ready, settle
from repro.environments.roots import Root, keep_root
from repro.environments.sound import is_sound
from repro.environments.store import Store
from repro.environments.trees import read_uses
from repro.errors import RestoreError
from repro.files import (
    hold_lock,
    is_of_this_boot,
    is_settled,
    make_directory,
    point_link,
    write_atomically,
)
from repro.formats.direct_url import Index, Vcs
from repro.formats.lockfile import Distribution, Snapshot
from repro.snapshots.load import Loaded, is_bundle_name, locate_lock, parse_lock, read_lock
from repro.snapshots.used import select_used
from repro.values import frozen, replace

ENGINES = ("uv", "pip")


class Check(Enum):
    """How a ready environment is looked at before it is used."""

    DIRECTORIES = 0
    """The mtime of each directory: shows every name that was added, removed or replaced."""
    FILES = 1
    """And size and mtime of each file: what precedes the first line of foreign code."""
    CONTENTS = 2
    """And the sha256 of each file."""


@frozen
class Request:
    """What a caller asks for: `lock` is a lock file, the directory that holds one, or a bundle.

    `python` is an absolute path. With `used` only what its run has used is wanted, and what that requires. `check` is
    how a ready environment is looked at; what was changed in it is mended.
    """

    lock: Path
    python: str | None = None
    offline: bool = False
    allow_missing: bool = False
    engine: str | None = None
    used: bool = False
    check: Check = Check.DIRECTORIES

    @property
    def options(self) -> tuple[str, ...] | None:
        """What else than the lock's bytes decides which environment it leads to."""
        return name_options(python=self.python, allow_missing=self.allow_missing, used=self.used)


@frozen
class Plan:
    """How each distribution of a lock is restored: as a file, by its commit, or not at all."""

    files: tuple[Distribution, ...]
    commits: tuple[Distribution, ...]
    missing: tuple[Distribution, ...]


def plan_restore(snapshot: Snapshot, *, has: Callable[[str], bool]) -> Plan:
    """Return what a restore of the snapshot would do where the store `has` the kept wheels of these sha256s."""
    files, commits, missing = [], [], []
    for each in snapshot.distributions:
        is_here = each.kept and any(has(hash_.removeprefix("sha256:")) for hash_ in each.hashes)
        if is_here or (not each.kept and snapshot.is_active(each)):
            files.append(each)
        elif isinstance(each.source, Vcs) and each.source.url:
            commits.append(replace(each, kept=False, hashes=(), record=None))
        elif each.kept and isinstance(each.source, Index) and snapshot.is_active(each):
            files.append(each)  # taken from a directory of files; an index that is asked here may have it too
        else:
            missing.append(each)
    return Plan(files=tuple(files), commits=tuple(commits), missing=tuple(missing))


def _describe_missing(each: Distribution) -> str:
    if each.kept:
        return f"{each.name} {each.version} ({each.source.kind}): its wheel {each.hashes[0]} is not in this cache"
    return f"{each.name} {each.version} ({each.source.kind})"


def _refuse_missing(plan: Plan, path: Path) -> None:
    if plan.missing:
        hint = "restore the others with `--allow-missing`"
        if any(each.kept for each in plan.missing):
            hint += ", or take it along from where it was taken with `repro bundle`"
        raise RestoreError(
            f"{len(plan.missing)} distribution(s) of `{path}` cannot be restored: there is no file of them",
            hint=hint,
            details=tuple(map(_describe_missing, plan.missing)),
        )


def _compute_key(snapshot: Snapshot, plan: Plan, candidate: Candidate) -> str:
    """Return the key of the environment, 16 hex digits: what is put into it, of which files, and the interpreter."""
    sources = [each.source for each in plan.commits]
    facts = {
        "digest": snapshot.compute_digest(),
        "hashes": [sorted(each.hashes) for each in snapshot.distributions],
        "commits": [each.format_url() for each in sources if isinstance(each, Vcs)],
        "left out": [each.name for each in plan.missing],
        "interpreter": str(find_stamp(candidate.path)),
        "version": candidate.interpreter.version,
        "abi": candidate.interpreter.abi,
    }
    return sha256_hex(json.dumps(facts).encode())[:16]


@frozen
class _Outcome:
    """An environment's directory and marker, whether it was there, and what was mended in it."""

    env_dir: str
    ready: Ready
    reused: bool
    notes: tuple[str, ...] = ()


def _is_sound(machine: Machine, env_dir: str, check: Check) -> bool:
    if check is Check.FILES:
        return is_sound(machine.store, env_dir, ahead=machine.ahead)
    return check is Check.DIRECTORIES or not find_damage(env_dir, deep=True)


def _find_sound(machine: Machine, key: str, check: Check) -> _Outcome | None:
    found = find_ready(machine.store, key)
    if found is None or not _is_sound(machine, found[0], check):
        return None
    return _Outcome(env_dir=found[0], ready=found[1], reused=True)


def _settle(machine: Machine, order: Order, check: Check) -> _Outcome | None:
    """Read an environment of an earlier boot through, once: what a power cut may do to files, no mtime shows.

    Its bytecode, which Python goes on to write, is looked at once in each boot.
    """
    store, key = machine.store, order.key
    env_dir = store.find_current(key)
    ready = store.read_ready(env_dir) if env_dir else None
    if not env_dir or not ready or ready.key != key or is_of_this_boot(ready.boot) or not is_intact(env_dir, ready):
        return None
    if not _is_sound(machine, env_dir, check if is_settled(ready.boot) else Check.CONTENTS):
        return None
    if store.is_writable():
        from repro.environments.bytecode import settle_bytecode

        settle_bytecode(machine, order.candidate, key, read_uses(env_dir) or ())
    settled = settle(ready)
    with contextlib.suppress(OSError):
        write_atomically(f"{env_dir}/{READY}", format_ready(settled))
    return _Outcome(env_dir=env_dir, ready=settled, reused=True)


def _publish_again(machine: Machine, order: Order, check: Check) -> _Outcome | None:
    """Point to a ready environment that is there without a pointer: its builder was killed, or the link was lost."""
    store, key = machine.store, order.key
    for env_dir in store.list_environments(key):
        ready = store.read_ready(env_dir)
        is_ready = ready and ready.key == key and is_settled(ready.boot) and is_intact(env_dir, ready)
        if ready and is_ready and _is_sound(machine, env_dir, check):
            point_link(store.room("envs", key, "current"), os.path.basename(env_dir))
            return _settle(machine, order, check) or _Outcome(env_dir=env_dir, ready=ready, reused=True)
    return None


def _mend(machine: Machine, order: Order, check: Check) -> _Outcome | None:
    """Mend the environment that is there, where its interpreter is still the one it was made for."""
    env_dir = machine.store.find_current(order.key)
    ready = machine.store.read_ready(env_dir) if env_dir else None
    if env_dir is None or ready is None or ready.key != order.key:
        return None
    if str(find_stamp(ready.interpreter.path)) != str(ready.interpreter):
        return None
    from repro.environments.repair import mend_environment

    damage = find_damage(env_dir, deep=check is Check.CONTENTS or not is_settled(ready.boot))
    machine.report("mending the environment: it was changed behind our back")
    mended = mend_environment(machine, order, env_dir, damage)
    notes = tuple(f"the environment was changed behind our back; mended {line}" for line in damage.describe())
    return _Outcome(env_dir=env_dir, ready=mended, reused=True, notes=notes) if mended else None


def _find_there(machine: Machine, order: Order, check: Check) -> _Outcome | None:
    """Return what is there of an environment, made good where it needs it; the caller holds the key's lock."""
    return (
        _find_sound(machine, order.key, check)
        or _settle(machine, order, check)
        or _mend(machine, order, check)
        or _publish_again(machine, order, check)
    )


def _find_or_build(machine: Machine, order: Order, check: Check) -> _Outcome:
    """Return the environment; of two restores of one key, one builds or mends and the other waits."""
    store, key = machine.store, order.key
    if found := _find_sound(machine, key, check) or (None if store.is_writable() else _settle(machine, order, check)):
        return found
    store.prepare()
    wait = lambda: machine.report(f"waiting: another process is restoring {key}")  # noqa: E731
    try:
        with machine.hold_store(), hold_lock(store.room("flocks", f"{key}.lock"), wait):
            make_directory(store.room("envs", key))
            store.remove_leftovers(key)
            if found := _find_there(machine, order, check):
                return found
            from repro.environments.build import build_environment

            env_dir, ready = build_environment(machine, order)
            return _Outcome(env_dir=env_dir, ready=ready, reused=False)
    except OSError as error:
        raise RestoreError(
            f"the environment cannot be built in `{store.root}` ({error})",
            hint="make room, or name another cache with `--cache DIR`",
        ) from error


def _note_interpreter(lock: Snapshot, candidate: Candidate) -> list[str]:
    wanted = lock.interpreter
    if wanted is None:
        return []
    notes = []
    if wanted.version != candidate.interpreter.version:
        notes.append(
            f"the lock was taken with Python {wanted.version}, which is not here: "
            f"{candidate.interpreter.version} is used"
        )
    if wanted.platform != candidate.interpreter.platform:
        notes.append(
            f"the lock was taken on {wanted.platform}, this is {candidate.interpreter.platform}: versions are checked, "
            "files are not"
        )
    return notes


def _load(machine: Machine, request: Request, content: bytes, path: Path) -> Loaded:
    find = machine.make_finder().find
    return parse_lock(content, path=path, get_python=lambda: find(None, given=request.python).interpreter)


def _make_order(machine: Machine, request: Request, loaded: Loaded) -> tuple[Order, list[str]]:
    """Return what is to be built for a lock, and notes on the lock."""
    snapshot = select_used(loaded.snapshot, where=str(loaded.path)) if request.used else loaded.snapshot
    plan = plan_restore(snapshot, has=machine.store.has_wheel)
    if not request.allow_missing:
        _refuse_missing(plan, loaded.path)
    candidate = machine.make_finder().find(snapshot.interpreter, given=request.python)
    notes = [*loaded.notes, *_note_interpreter(snapshot, candidate)]
    notes += [f"left out: {each.name} {each.version} ({each.source.kind})" for each in plan.missing]
    order = Order(
        snapshot=snapshot,
        wanted=(*plan.files, *plan.commits),
        candidate=candidate,
        key=_compute_key(snapshot, plan, candidate),
        project=locate_lock(request.lock).parent,
        engine=request.engine,
        offline=request.offline,
    )
    return order, notes


def _resolve_python(machine: Machine, request: Request) -> Request:
    return (
        replace(request, python=settings.locate_python(request.python, machine.environ)) if request.python else request
    )


def plan_request(machine: Machine, request: Request) -> tuple[Order, tuple[str, ...]]:
    """Return what is to be built for a request, and what its user should know of the lock.

    Raises what `restore_environment` raises.
    """
    machine.store.check()
    request = _resolve_python(machine, request)
    path = locate_lock(request.lock)
    order, notes = _make_order(machine, request, _load(machine, request, read_lock(path), path))
    return order, tuple(notes)


def _keep_looks(store: Store, key: str, options: tuple[str, ...] | None, *contents: bytes | None) -> None:
    """Remember what a lock's bytes, and the stamp of a bundle, led to."""
    for content in contents:
        if content and options:
            store.keep_look(name_look(content, options), key)


def restore_environment(machine: Machine, request: Request) -> Environment:
    """Return the environment equal to a lock; one that was restored before is looked up.

    A bundle's wheels are taken into the store first, and no network is touched.

    Raises SnapshotNotFoundError, InvalidSnapshotError, InterpreterNotFoundError and RestoreError, and NotObservedError
    where what was used is wanted and the lock does not say it.
    """
    started = time.perf_counter()
    store = machine.store
    store.check()
    request = _resolve_python(machine, request)
    path = locate_lock(request.lock)
    stamp = stamp_bundle(str(path)) if is_bundle_name(path.name) else None
    content = read_lock(path)
    options = request.options
    found = look_up(store, content, options, lock=str(path))
    if found and _is_sound(machine, found.path, request.check):
        _keep_looks(store, found.key, options, stamp)
        return found
    loaded = _load(machine, request, content, path)
    from_bundle: tuple[str, ...] = ()
    if is_bundle_name(path.name):
        from repro.environments.unbundle import take_bundle

        from_bundle = take_bundle(machine, path, loaded.snapshot, python=request.python)
        request = replace(request, offline=True)
    order, notes = _make_order(machine, request, loaded)
    outcome = _find_or_build(machine, order, request.check)
    if options:
        look = name_look(content, options)
        keep_root(store, Root(key=outcome.ready.key, lock=str(path.absolute()), look=look, options=options))
        if not notes:
            _keep_looks(store, outcome.ready.key, options, content, stamp)
    return make_environment(
        store,
        outcome.env_dir,
        outcome.ready,
        reused=outcome.reused,
        seconds=time.perf_counter() - started,
        notes=(*notes, *from_bundle, *outcome.notes),
    )
