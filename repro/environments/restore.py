"""Restore: make an environment of the store equal to a lock, or find the one that is.

Built in a fresh directory, verified against the lock, marked ready, and published by one replaced link, in that order;
a build that fails leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro import settings
from repro.environments.installers import Installer, Links
from repro.environments.installers.built import BuiltWheels
from repro.environments.installers.pip import PipInstaller
from repro.environments.installers.uv import UvInstaller
from repro.environments.interpreters import Candidate
from repro.environments.lookup import (
    Environment,
    find_ready,
    look_up,
    make_environment,
    name_look,
    name_options,
)
from repro.environments.machine import Machine
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, find_stamp, format_ready, stamp_config
from repro.environments.store import Store
from repro.errors import RestoreError
from repro.files import (
    directory_times,
    hold_lock,
    make_directory,
    make_read_only,
    new_nonce,
    point_link,
    remove_tree,
    write_atomically,
)
from repro.formats.direct_url import Index, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Proof, Snapshot
from repro.formats.target import Target, make_target
from repro.snapshots.drift import Change, compare
from repro.snapshots.hashes import find_uv
from repro.snapshots.load import Loaded, locate_lock, parse_lock, read_lock
from repro.snapshots.probe import probe
from repro.snapshots.take import describe
from repro.snapshots.used import select_used
from repro.snapshots.wheelhouse import Wheelhouse

ENGINES = ("uv", "pip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks for: `lock` is a lock file or the directory that holds one, `python` an absolute path.

    With `used` only what its run has used is wanted, and what that requires.
    """

    lock: Path
    python: str | None = None
    offline: bool = False
    allow_missing: bool = False
    engine: str | None = None
    used: bool = False

    @property
    def options(self) -> tuple[str, ...] | None:
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
    """Return the key of the environment, 16 hex digits: what it holds, the files and commits, and the interpreter."""
    sources = [each.source for each in snapshot.distributions]
    facts = {
        "digest": snapshot.compute_digest(),
        "hashes": [sorted(each.hashes) for each in snapshot.distributions],
        "commits": [(each.format_url(), each.commit) for each in sources if isinstance(each, Vcs)],
        "interpreter": str(find_stamp(candidate.path)),
        "version": candidate.interpreter.version,
        "abi": candidate.interpreter.abi,
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _open_wheelhouse(machine: Machine) -> Wheelhouse:
    return Wheelhouse(machine.store.room("wheels"), staging_dir=machine.store.room("tmp"))


def _install_files(
    machine: Machine,
    installer: Installer,
    files: Sequence[Distribution],
    *,
    target: Target,
    env_dir: str,
    env: dict[str, str],
) -> None:
    """Install files, those the store has from there; what has no hash goes apart, since one hash demands all.

    A lock names the wheels of several Pythons; only one that fits the `target` counts.
    """
    with tempfile.TemporaryDirectory(dir=machine.store.room("tmp")) as directory:
        hashes = [hash_.removeprefix("sha256:") for each in files for hash_ in each.hashes]
        linked = _open_wheelhouse(machine).link(hashes, Path(directory), accepts=target.accepts)
        links = Links(directory=Path(directory), hashes=frozenset(f"sha256:{each}" for each in linked))
        files = [replace(each, source=Index()) if links.has(each) else each for each in files]
        for group in ([each for each in files if each.hashes], [each for each in files if not each.hashes]):
            if group:
                installer.install(env_dir, group, links=links, env=env)


def _choose_installer(machine: Machine, request: Request, interpreter: Interpreter) -> Installer:
    uv = find_uv() if request.engine in (None, "uv") else None
    room = machine.store.room
    if uv:
        return UvInstaller(uv, runner=machine.runner, cache_dir=room("uv"), offline=request.offline)
    if request.engine == "uv":
        raise RestoreError("uv is not installed", hint="pip install 'repro[uv]', or restore with `--engine pip`")
    wheelhouse = _open_wheelhouse(machine)
    return PipInstaller(
        runner=machine.runner,
        wheelhouse=wheelhouse,
        built=BuiltWheels(room("built"), interpreter=interpreter, wheelhouse=wheelhouse),
        app_data_dir=room("virtualenv"),
        tmp_dir=room("tmp"),
        offline=request.offline,
    )


def _install(
    machine: Machine, request: Request, plan: Plan, snapshot: Snapshot, *, env_dir: str, candidate: Candidate
) -> None:
    installer = _choose_installer(machine, request, candidate.interpreter)
    env = settings.make_installer_environment(machine.environ)
    env["PIP_CACHE_DIR"] = machine.store.room("pip")
    machine.find_indexes(Path(request.lock).parent).write_to(env, more_urls=snapshot.index_urls)
    machine.report("making an empty environment")
    installer.create(env_dir, python=candidate.path, env=env)
    if plan.files:
        machine.report(f"installing {len(plan.files)} distributions")
        target = make_target(candidate.interpreter)
        _install_files(machine, installer, plan.files, target=target, env_dir=env_dir, env=env)
    if plan.commits:
        if request.offline:
            raise RestoreError(
                "offline, and the lock holds commits of repositories",
                hint="restore once without `--offline`",
                details=tuple(each.name for each in plan.commits),
            )
        machine.report(f"building {len(plan.commits)} distributions from version control")
        lines = [f"{each.name} @ {each.source.format_url()}" for each in plan.commits if isinstance(each.source, Vcs)]
        installer.install_urls(env_dir, lines, env=env)


def _comparable(distribution: Distribution) -> Distribution:
    """Return a distribution as a restored one can be compared: a file by its record, a commit by its commit."""
    match distribution.source:
        case Vcs() if not distribution.kept:
            return replace(distribution, record=None)
        case _:
            return replace(distribution, source=Index(), kept=False)


def _describe_mismatch(change: Change) -> str:
    """Return a line for a distribution that is not what the lock says; other files by both record digests."""
    before, after = change.before, change.after
    if before and after and before.version == after.version and before.record != after.record:
        how = f" ({before.proof.value})" if before.proof else ""
        return f"~ {change.name} {after.version}: locked {before.record}{how}, installed {after.record}"
    return str(change)


def find_mismatches(wanted: Sequence[Distribution], lock: Snapshot, restored: Snapshot) -> list[str]:
    """Return one line for each distribution that is not what the lock says."""
    commits = {each.name for each in wanted if isinstance(each.source, Vcs) and not each.kept}
    there = [each if each.name in commits else replace(each, source=Index()) for each in restored.distributions]
    drift = compare(
        replace(lock, distributions=tuple(map(_comparable, wanted))),
        replace(restored, distributions=tuple(map(_comparable, there))),
    )
    return [_describe_mismatch(change) for change in drift.changes]


def _verify(machine: Machine, plan: Plan, lock: Snapshot, env_dir: str) -> None:
    machine.report("verifying")
    report = probe(f"{env_dir}/bin/python", runner=machine.runner, environ={**machine.environ, "PYTHONNOUSERSITE": "1"})
    restored, _ = describe(report, memory=machine.make_memory())
    mismatches = find_mismatches((*plan.files, *plan.commits), lock, restored)
    if mismatches:
        hint = "the index gives other files, or the lock was edited; take it again with `repro snapshot"
        if any(f"({Proof.IDENTIFIED.value})" in line for line in mismatches):
            hint = "the file was identified by name and tags alone: take the lock again with `repro snapshot --prove"
        raise RestoreError(
            "what was installed is not what the lock says (locked -> installed)",
            hint=f"{hint}`",
            details=tuple(mismatches),
        )


def _seal(env_dir: str, pycache: str, minor: str) -> dict[str, int]:
    """Make an environment read-only, its bytecode going elsewhere, and return its directories' mtimes."""
    site = Path(env_dir, "lib", f"python{minor}", "site-packages")
    (site / "repro-sealed.pth").write_text(f"import sys; sys.pycache_prefix = sys.pycache_prefix or {pycache!r}\n")
    make_read_only(Path(env_dir, "lib"))
    make_read_only(Path(env_dir, "bin"))
    os.chmod(Path(env_dir, "pyvenv.cfg"), 0o444)
    os.makedirs(pycache, mode=0o700, exist_ok=True)  # what Python makes in it has the mode that a user's umask allows
    return directory_times(env_dir)


def _remove_leftovers(store: Store, key: str) -> None:
    """Remove what builds of `key` that were killed have left; the caller holds the key's lock."""
    with os.scandir(store.room("envs", key)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not os.path.exists(os.path.join(entry.path, READY)):
                remove_tree(entry.path)


def _build(
    machine: Machine, request: Request, *, plan: Plan, snapshot: Snapshot, candidate: Candidate, key: str
) -> tuple[str, Ready]:
    store = machine.store
    _remove_leftovers(store, key)
    nonce = new_nonce()
    env_dir = store.room("envs", key, nonce)
    try:
        _install(machine, request, plan, snapshot, env_dir=env_dir, candidate=candidate)
        _verify(machine, plan, snapshot, env_dir)
        stamp = find_stamp(candidate.path)
        if stamp is None:
            raise RestoreError(f"the interpreter `{candidate.path}` went away during the build")
        times = _seal(env_dir, store.room("pycache", key), candidate.interpreter.minor)
        ready = Ready(
            key=key,
            digest=snapshot.compute_digest(),
            python_version=candidate.interpreter.version,
            interpreter=stamp,
            config=stamp_config(env_dir),
            directories=times,
        )
        write_atomically(os.path.join(env_dir, READY), format_ready(ready))
        point_link(store.room("envs", key, "current"), nonce)
    except BaseException:
        remove_tree(env_dir)
        raise
    return env_dir, ready


def _find_or_build(
    machine: Machine, request: Request, plan: Plan, snapshot: Snapshot, candidate: Candidate
) -> tuple[str, Ready, bool]:
    """Return directory, marker and whether it was there; of two restores of one key, one builds and the other waits."""
    store, key = machine.store, _compute_key(snapshot, candidate)
    if found := find_ready(store, key):
        return (*found, True)
    store.prepare()
    wait = lambda: machine.report(f"waiting: another process is restoring {key}")  # noqa: E731
    try:
        make_directory(store.room("envs", key))
        with hold_lock(store.room("flocks", f"{key}.lock"), wait):
            if found := find_ready(store, key):
                return (*found, True)
            if store.find_current(key):
                machine.report("the environment was changed behind our back: building it again")
            built = _build(machine, request, plan=plan, snapshot=snapshot, candidate=candidate, key=key)
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
    plan = plan_restore(loaded.snapshot, has=lambda sha256: _open_wheelhouse(machine).find(sha256) is not None)
    if not request.allow_missing:
        _refuse_missing(plan, loaded.path)
    candidate = machine.make_finder().find(loaded.snapshot.interpreter, given=request.python)
    notes = [*loaded.notes, *_note_interpreter(loaded.snapshot, candidate)]
    notes += [f"left out: {each.name} {each.version} ({each.source.kind})" for each in plan.missing]
    env_dir, ready, reused = _find_or_build(machine, request, plan, loaded.snapshot, candidate)
    return env_dir, ready, reused, notes


def restore_environment(machine: Machine, request: Request) -> Environment:
    """Return the environment equal to a lock; one that was restored before is looked up.

    Raises SnapshotNotFoundError, InvalidSnapshotError, InterpreterNotFoundError and RestoreError, and NotObservedError
    where what was used is wanted and the lock does not say it.
    """
    started = time.perf_counter()
    store = machine.store
    store.check()
    if request.python:
        request = replace(request, python=settings.locate_python(request.python, machine.environ))
    path = locate_lock(request.lock)
    content = read_lock(path)
    options = request.options
    if found := look_up(store, content, options):
        return found
    find = machine.make_finder().find
    loaded = parse_lock(content, path=path, get_python=lambda: find(None, given=request.python).interpreter)
    if request.used:
        loaded = replace(loaded, snapshot=select_used(loaded.snapshot, where=str(path)))
    env_dir, ready, reused, notes = _restore_loaded(machine, request, loaded)
    if options and not notes:
        store.keep_look(name_look(content, options), ready.key)
    seconds = time.perf_counter() - started
    return make_environment(store, env_dir, ready, reused=reused, seconds=seconds, notes=tuple(notes))
