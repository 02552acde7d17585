"""Build an environment of the store: fetch, assemble, verify, seal, mark ready, publish, in that order.

A build happens in a fresh directory and appears by one replaced link; one that fails leaves nothing but the trees it
has fetched, which the next one uses.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from repro import settings
from repro.environments.assemble import Blueprint, list_entries, perform, plan_environment
from repro.environments.bytecode import settle_bytecode
from repro.environments.fetch import Builder, Source, fetch_trees
from repro.environments.installers import Creator
from repro.environments.machine import Machine
from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.manifest import find_extra, format_manifest
from repro.environments.order import Order
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, find_stamp, format_ready, stamp_config
from repro.environments.trees import Tree, write_uses
from repro.errors import RestoreError
from repro.files import find_boot, new_nonce, point_link, remove_tree, write_atomically
from repro.formats.direct_url import Index, Vcs
from repro.formats.lockfile import Distribution, Interpreter, Proof, Snapshot
from repro.snapshots.uv import find_uv
from repro.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.drift import Change
    from repro.snapshots.indexes import Indexes

_OLDEST_FOR_PIP = (3, 10)
_SAME = Interpreter(implementation="any", version="0", abi="any", platform="any")  # files count on equal ones alone


def _find_indexes(machine: Machine, order: Order) -> Indexes:
    """Return the indexes that are asked for an order: the user's, and those that its lock names."""
    indexes = machine.find_indexes(order.project)
    known = {*indexes.extra_urls, *indexes.public_urls}
    more = tuple(url for url in order.snapshot.index_urls if url not in known)
    return replace(indexes, extra_urls=(*indexes.extra_urls, *more))


def _make_builder(machine: Machine, order: Order) -> Builder:
    """Return pip, and for a Python that it left behind uv where it is."""
    env = settings.make_installer_environment(machine.environ)
    env["PIP_CACHE_DIR"] = machine.store.room("pip")
    machine.find_indexes(order.project).write_to(env, more_urls=order.snapshot.index_urls)
    is_left_behind = tuple(map(int, order.candidate.interpreter.minor.split("."))) < _OLDEST_FOR_PIP
    pins = {
        each.name: f"{each.name}=={each.version}"
        for each in order.snapshot.distributions
        if isinstance(each.source, Index)
    }
    uv = find_uv() if is_left_behind and order.engine != "pip" else None
    if uv:
        from repro.environments.installers.uv import UvBuilder

        return UvBuilder(uv, python=order.candidate.path, runner=machine.runner, env=env, pins=pins)
    from repro.environments.installers.pip import PipBuilder

    return PipBuilder(python=order.candidate.path, runner=machine.runner, env=env, pins=pins)


def open_source(machine: Machine, order: Order) -> Source:
    """Return where the files of an order come from."""
    store = machine.store
    return Source(
        wheelhouse=store.open_wheelhouse(),
        trees=store.open_trees(),
        built_dir=Path(store.room("built")),
        fetched_dir=Path(store.room("fetched")),
        find_indexes=partial(_find_indexes, machine, order),
        environ=machine.environ,
        make_builder=partial(_make_builder, machine, order),
        interpreter=order.candidate.interpreter,
        locked=order.snapshot.interpreter,
        offline=order.offline,
        report=machine.report,
        stage=store.stage,
    )


def choose_creator(machine: Machine, engine: str | None) -> Creator:
    """Return what makes empty environments: uv where it is, else virtualenv. Raises RestoreError."""
    uv = find_uv() if engine in (None, "uv") else None
    if uv:
        from repro.environments.installers.uv import UvCreator

        return UvCreator(uv, runner=machine.runner, cache_dir=machine.store.room("uv"))
    if engine == "uv":
        raise RestoreError("uv is not installed", hint="pip install 'repro[uv]', or restore with `--engine pip`")
    from repro.environments.installers.virtualenv import VirtualenvCreator

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


def _identify(distribution: Distribution) -> tuple[str, str, str]:
    return distribution.name, distribution.version, distribution.record or ""


def _describe_mismatch(change: Change) -> str:
    """Return a line for a distribution that is not what the lock says; other files by both record digests."""
    before, after = change.before, change.after
    if before and after and before.version == after.version and before.record != after.record:
        how = f" ({before.proof.value})" if before.proof else ""
        return f"~ {change.name} {after.version}: locked {before.record}{how}, installed {after.record}"
    return str(change)


def find_mismatches(wanted: Sequence[Distribution], there: Sequence[Distribution]) -> list[str]:
    """Return one line for each distribution that is not the wanted one, by name, version or record digest."""
    if sorted(map(_identify, wanted)) == sorted(map(_identify, there)):
        return []
    from repro.snapshots.drift import compare

    drift = compare(
        Snapshot(interpreter=_SAME, distributions=tuple(map(_comparable, wanted))),
        Snapshot(interpreter=_SAME, distributions=tuple(map(_comparable, there))),
    )
    return [_describe_mismatch(change) for change in drift.changes]


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


def _seal(env_dir: str, blueprint: Blueprint, base: Sequence[str]) -> dict[str, int]:
    """Make an environment's directories read-only, as its files are, and return the directories' mtimes in ns."""
    os.chmod(f"{env_dir}/pyvenv.cfg", 0o444)
    times = {}
    for directory in sorted({*blueprint.directories, *(os.path.dirname(path) for path in base)} - {""}):
        place = f"{env_dir}/{directory}"
        os.chmod(place, 0o555)
        times[f"{directory}/"] = os.lstat(place).st_mtime_ns
    return times


def plan_order(machine: Machine, order: Order, env_dir: str) -> Blueprint:
    """Fetch what an order needs, verify it against the lock, and return what its environment is made of.

    Raises RestoreError and OSError.
    """
    found = fetch_trees(open_source(machine, order), order.wanted)
    trees = [found[name] for name in sorted(found)]
    verify_trees(order, trees)
    settle_bytecode(machine, order.candidate, order.key, [each.sha256 for each in trees if each.boot != find_boot()])
    return plan_environment(
        trees,
        env_dir=env_dir,
        minor=order.candidate.interpreter.minor,
        shared_dir=machine.store.room("pycache", order.key),
        requested={each.name for each in order.wanted if each.requested},
    )


def finish_environment(order: Order, env_dir: str, blueprint: Blueprint, base: Sequence[str]) -> Ready:
    """Seal, write the manifest, and mark an environment ready, in that order; `base` are files no distribution has.

    Raises RestoreError and OSError.
    """
    stamp = find_stamp(order.candidate.path)
    if stamp is None:
        raise RestoreError(f"the interpreter `{order.candidate.path}` went away during the build")
    times = _seal(env_dir, blueprint, base)
    write_uses(env_dir, {link.tree.sha256: link.tree for link in blueprint.links}.values())
    write_atomically(f"{env_dir}/{MANIFEST}", format_manifest(list_entries(blueprint, env_dir, base)), durable=False)
    ready = Ready(
        key=order.key,
        digest=order.snapshot.compute_digest(),
        python_version=order.candidate.interpreter.version,
        interpreter=stamp,
        config=stamp_config(env_dir),
        boot=find_boot(),
        directories=times,
    )
    write_atomically(os.path.join(env_dir, READY), format_ready(ready))
    return ready


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector still: it would look again and again at a value for each file, none of it garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collector()
def build_environment(machine: Machine, order: Order) -> tuple[str, Ready]:
    """Build and publish an environment, and return its directory and marker; the caller holds the key's lock.

    Raises RestoreError and OSError.
    """
    store = machine.store
    nonce = new_nonce()
    env_dir = store.room("envs", order.key, nonce)
    creator, env = choose_creator(machine, order.engine), settings.make_installer_environment(machine.environ)
    try:
        with ThreadPoolExecutor(1) as meanwhile:  # starting the tool takes as long as reading the trees
            created = meanwhile.submit(creator.create, env_dir, python=order.candidate.path, env=env)
            blueprint = plan_order(machine, order, env_dir)
            created.result()
        machine.report(f"assembling {len(order.wanted)} distributions")
        base = find_extra(env_dir, ())
        perform(blueprint, env_dir)
        ready = finish_environment(order, env_dir, blueprint, base)
        point_link(store.room("envs", order.key, "current"), nonce)
    except BaseException:
        remove_tree(env_dir)
        raise
    return env_dir, ready
