"""Restore: make an environment of the store equal to a lock, or find the one that is.

Built in a fresh directory, verified against the lock, marked ready, and published by one replaced link, in that order;
a build that fails leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from repro.environments.build import Order, build_environment, make_availability
from repro.environments.interpreters import Candidate
from repro.environments.lookup import (
    Environment,
    find_ready,
    look_up,
    make_environment,
    name_look,
    name_options,
    stamp_bundle,
)
from repro.environments.machine import Machine
from repro.environments.ready import Ready, find_stamp
from repro.environments.store import Store
from repro.environments.unbundle import take_bundle
from repro.errors import RestoreError
from repro.files import hold_lock
from repro.formats.direct_url import Index, Vcs
from repro.formats.lockfile import Distribution, Snapshot
from repro.snapshots.load import Loaded, is_bundle_name, locate_lock, parse_lock, read_lock
from repro.snapshots.used import select_used

ENGINES = ("uv", "pip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks for: `lock` is a lock file, the directory that holds one, or a bundle.

    With `used` only what its run has used is wanted, and what that requires.
    """

    lock: Path
    python: str | None = None
    offline: bool = False
    allow_missing: bool = False
    engine: str | None = None
    used: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """What else than the lock's bytes decides which environment it leads to."""
        return name_options(python=self.python, allow_missing=self.allow_missing, used=self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
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
            hint += ", or copy `wheels/` from the cache of the machine that took the snapshot"
        raise RestoreError(
            f"{len(plan.missing)} distribution(s) of `{path}` cannot be restored: there is no file of them",
            hint=hint,
            details=tuple(map(_describe_missing, plan.missing)),
        )


def _compute_key(snapshot: Snapshot, candidate: Candidate) -> str:
    """Return the key of the environment: what it holds, the files allowed, and the interpreter, as 16 hex digits."""
    facts = {
        "digest": snapshot.compute_digest(),
        "hashes": [sorted(each.hashes) for each in snapshot.distributions],
        "interpreter": str(find_stamp(candidate.path)),
        "version": candidate.interpreter.version,
        "abi": candidate.interpreter.abi,
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _find_or_build(
    machine: Machine, request: Request, plan: Plan, snapshot: Snapshot, candidate: Candidate
) -> tuple[str, Ready, bool]:
    """Return directory, marker and whether it was there; of two restores of one key, one builds and the other waits."""
    store, key = machine.store, _compute_key(snapshot, candidate)
    if found := find_ready(store, key):
        return (*found, True)
    store.prepare()
    os.makedirs(store.room("envs", key), exist_ok=True)
    wait = lambda: machine.report(f"waiting: another process is restoring {key}")  # noqa: E731
    try:
        with hold_lock(store.room("flocks", f"{key}.lock"), wait):
            if found := find_ready(store, key):
                return (*found, True)
            if store.find_current(key):
                machine.report("the environment was changed behind our back: building it again")
            built = build_environment(
                machine,
                Order(
                    snapshot=snapshot,
                    wanted=(*plan.files, *plan.commits),
                    candidate=candidate,
                    key=key,
                    project=request.lock.parent,
                    engine=request.engine,
                    offline=request.offline,
                ),
            )
            return (*built, False)
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


def _restore_loaded(machine: Machine, request: Request, loaded: Loaded) -> tuple[str, Ready, bool, list[str]]:
    plan = plan_restore(loaded.snapshot, has=make_availability(machine.store))
    if not request.allow_missing:
        _refuse_missing(plan, loaded.path)
    candidate = machine.make_finder().find(loaded.snapshot.interpreter, given=request.python)
    notes = [*loaded.notes, *_note_interpreter(loaded.snapshot, candidate)]
    notes += [f"left out: {each.name} {each.version} ({each.source.kind})" for each in plan.missing]
    env_dir, ready, reused = _find_or_build(machine, request, plan, loaded.snapshot, candidate)
    return env_dir, ready, reused, notes


def _keep_looks(store: Store, key: str, request: Request, *contents: bytes | None) -> None:
    """Remember what a lock's bytes, and the stamp of a bundle, led to."""
    for content in contents:
        if content:
            store.keep_look(name_look(content, request.options), key)


def restore_environment(machine: Machine, request: Request) -> Environment:
    """Return the environment equal to a lock; one that was restored before is looked up.

    A bundle's wheels are taken into the store first, and no network is touched.

    Raises SnapshotNotFoundError, InvalidSnapshotError, InterpreterNotFoundError and RestoreError, and NotObservedError
    where what was used is wanted and the lock does not say it.
    """
    started = time.perf_counter()
    store = machine.store
    store.check()
    path = locate_lock(request.lock)
    stamp = stamp_bundle(str(path)) if is_bundle_name(path.name) else None
    content = read_lock(path)
    if found := look_up(store, content, request.options):
        _keep_looks(store, found.key, request, stamp)
        return found
    loaded = parse_lock(content, path=path)
    from_bundle = take_bundle(machine, path, loaded.snapshot, python=request.python)
    if from_bundle is not None:
        request = replace(request, offline=True)
    if request.used:
        loaded = replace(loaded, snapshot=select_used(loaded.snapshot, where=str(path)))
    env_dir, ready, reused, notes = _restore_loaded(machine, request, loaded)
    if not notes:
        _keep_looks(store, ready.key, request, content, stamp)
    seconds = time.perf_counter() - started
    notes += from_bundle or ()
    return make_environment(store, env_dir, ready, reused=reused, seconds=seconds, notes=tuple(notes))
