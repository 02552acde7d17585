"""Build an environment of the store: fetch, assemble, verify, seal, mark ready, publish, in that order.

A build happens in a fresh directory and appears by one replaced link; one that fails leaves nothing but the trees it
has fetched, which the next one uses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repro import settings
from repro.environments.assemble import Blueprint, list_entries, perform, plan_environment
from repro.environments.fetch import Source, fetch_trees
from repro.environments.installers import Creator
from repro.environments.installers.pip import PipBuilder
from repro.environments.installers.uv import UvCreator
from repro.environments.installers.virtualenv import VirtualenvCreator
from repro.environments.interpreters import Candidate
from repro.environments.machine import Machine
from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.manifest import format_manifest
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, find_stamp, format_ready
from repro.environments.store import Store
from repro.environments.trees import Tree, Trees
from repro.errors import RestoreError
from repro.files import directory_times, new_nonce, point_link, remove_tree, write_atomically
from repro.formats.direct_url import Index, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Proof, Snapshot
from repro.snapshots.drift import Change, compare
from repro.snapshots.hashes import find_uv
from repro.snapshots.wheelhouse import Wheelhouse

_SAME = Interpreter(implementation="any", version="0", abi="any", platform="any")  # files count on equal ones alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be built: the distributions `wanted` of a lock, for an interpreter, under a key.

    `project` is the directory whose configuration names indexes.
    """

    snapshot: Snapshot
    wanted: tuple[Distribution, ...]
    candidate: Candidate
    key: str
    project: Path
    engine: str | None = None
    offline: bool = False


def open_wheelhouse(store: Store) -> Wheelhouse:
    """Return the store's kept wheels."""
    return Wheelhouse(store.room("wheels"), staging_dir=store.room("tmp"))


def open_trees(store: Store) -> Trees:
    """Return the store's unpacked wheels."""
    return Trees(
        root=Path(store.room("trees")), staging_dir=Path(store.room("tmp")), flocks_dir=Path(store.room("flocks"))
    )


def make_availability(store: Store) -> Callable[[str], bool]:
    """Return what tells whether the store has the wheel with a sha256, packed or unpacked."""
    wheelhouse, trees = open_wheelhouse(store), open_trees(store)
    return lambda sha256: wheelhouse.find(sha256) is not None or trees.find(sha256) is not None


def _make_environ(machine: Machine, order: Order) -> dict[str, str]:
    env = settings.make_installer_environment(machine.environ)
    env["PIP_CACHE_DIR"] = machine.store.room("pip")
    machine.find_indexes(order.project).write_to(env, more_urls=order.snapshot.index_urls)
    return env


def _make_source(machine: Machine, order: Order, env: Mapping[str, str]) -> Source:
    store = machine.store
    indexes = machine.find_indexes(order.project)
    known = {*indexes.extra_urls, *indexes.public_urls}
    more = tuple(url for url in order.snapshot.index_urls if url not in known)
    return Source(
        wheelhouse=open_wheelhouse(store),
        trees=open_trees(store),
        built_dir=Path(store.room("built")),
        indexes=replace(indexes, extra_urls=(*indexes.extra_urls, *more)),
        environ=machine.environ,
        builder=PipBuilder(python=order.candidate.path, runner=machine.runner, env=env),
        interpreter=order.candidate.interpreter,
        offline=order.offline,
        report=machine.report,
    )


def _choose_creator(machine: Machine, engine: str | None) -> Creator:
    uv = find_uv() if engine in (None, "uv") else None
    if uv:
        return UvCreator(uv, runner=machine.runner, cache_dir=machine.store.room("uv"))
    if engine == "uv":
        raise RestoreError("uv is not installed", hint="pip install 'repro[uv]', or restore with `--engine pip`")
    return VirtualenvCreator(runner=machine.runner, app_data_dir=machine.store.room("virtualenv"))


def describe_trees(trees: Sequence[Tree]) -> tuple[Distribution, ...]:
    """Return what trees put into an environment, as a snapshot says it."""
    found = (Distribution(name=each.name, version=each.version, record=each.record) for each in trees)
    return tuple(sorted(found, key=lambda each: each.name))


def _comparable(distribution: Distribution) -> Distribution:
    """Return a distribution as it can be compared by its files; what was built of a commit is not held to them."""
    is_commit = isinstance(distribution.source, Vcs) and not distribution.kept
    record = None if is_commit else distribution.record
    return replace(distribution, source=Index(), kept=False, modified=(), record=record)


def _describe_mismatch(change: Change) -> str:
    """Return a line for a distribution that is not what the lock says; other files by both record digests."""
    before, after = change.before, change.after
    if before and after and before.version == after.version and before.record != after.record:
        how = f" ({before.proof.value})" if before.proof else ""
        return f"~ {change.name} {after.version}: locked {before.record}{how}, installed {after.record}"
    return str(change)


def find_mismatches(wanted: Sequence[Distribution], there: Sequence[Distribution]) -> list[str]:
    """Return one line for each distribution that is not the wanted one, by name, version or record digest."""
    drift = compare(
        Snapshot(interpreter=_SAME, distributions=tuple(map(_comparable, wanted))),
        Snapshot(interpreter=_SAME, distributions=tuple(map(_comparable, there))),
    )
    return [_describe_mismatch(change) for change in drift.changes]


def open_source(machine: Machine, order: Order) -> Source:
    """Return where the files of an order come from."""
    return _make_source(machine, order, _make_environ(machine, order))


def verify_trees(order: Order, trees: Sequence[Tree]) -> None:
    """Refuse trees that are not what the lock says. Raises RestoreError, which names each."""
    locked, here = order.snapshot.interpreter, order.candidate.interpreter
    wanted: Sequence[Distribution] = order.wanted
    if locked and locked.platform != here.platform:
        wanted = [replace(each, record=None) for each in wanted]
    mismatches = find_mismatches(wanted, describe_trees(trees))
    if mismatches:
        hint = "the index gives other files, or the lock was edited; take it again with `repro snapshot"
        if any(f"({Proof.IDENTIFIED.value})" in line for line in mismatches):
            hint = "the file was identified by name and tags alone: take the lock again with `repro snapshot --prove"
        raise RestoreError(
            "what was installed is not what the lock says (locked -> installed)",
            hint=f"{hint}`",
            details=tuple(mismatches),
        )


def _seal(env_dir: str, blueprint: Blueprint) -> dict[str, int]:
    """Make an environment's directories read-only, as its files are, and return the directories' mtimes in ns."""
    for directory in {*blueprint.directories, "bin", "lib"}:
        os.chmod(f"{env_dir}/{directory}", 0o555)
    return directory_times(env_dir)


def _remove_leftovers(store: Store, key: str) -> None:
    """Remove what builds of `key` that were killed have left; the caller holds the key's lock."""
    with os.scandir(store.room("envs", key)) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not os.path.exists(os.path.join(entry.path, READY)):
                remove_tree(entry.path)


def _assemble(machine: Machine, order: Order, env_dir: str) -> Blueprint:
    env = _make_environ(machine, order)
    found = fetch_trees(_make_source(machine, order, env), order.wanted)
    trees = [found[name] for name in sorted(found)]
    verify_trees(order, trees)
    machine.report(f"assembling {len(trees)} distributions")
    _choose_creator(machine, order.engine).create(env_dir, python=order.candidate.path, env=env)
    blueprint = plan_environment(
        trees,
        env_dir=env_dir,
        minor=order.candidate.interpreter.minor,
        shared_dir=machine.store.room("pycache", order.key),
    )
    perform(blueprint, env_dir)
    write_atomically(f"{env_dir}/{MANIFEST}", format_manifest(list_entries(blueprint, env_dir)), durable=False)
    return blueprint


def build_environment(machine: Machine, order: Order) -> tuple[str, Ready]:
    """Build and publish an environment, and return its directory and marker; the caller holds the key's lock.

    Raises RestoreError and OSError.
    """
    store = machine.store
    _remove_leftovers(store, order.key)
    nonce = new_nonce()
    env_dir = store.room("envs", order.key, nonce)
    try:
        blueprint = _assemble(machine, order, env_dir)
        stamp = find_stamp(order.candidate.path)
        if stamp is None:
            raise RestoreError(f"the interpreter `{order.candidate.path}` went away during the build")
        ready = Ready(
            key=order.key,
            digest=order.snapshot.compute_digest(),
            python_version=order.candidate.interpreter.version,
            interpreter=stamp,
            directories=_seal(env_dir, blueprint),
        )
        write_atomically(os.path.join(env_dir, READY), format_ready(ready))
        point_link(store.room("envs", order.key, "current"), nonce)
    except BaseException:
        remove_tree(env_dir)
        raise
    return env_dir, ready
