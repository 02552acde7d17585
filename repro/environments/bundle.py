"""Bundle a lock: both lock formats and the wheels in one zip, which restores anywhere without a network.

Unzipped, stock pip and uv install it (docs/bundle.md). The wheels are those that a restore takes here; the lock in the
bundle is the one that was bundled, byte for byte, unless an entry names no wheel: then it names the one that was built.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.environments.build import open_source, verify_trees
from repro.environments.fetch import fetch_trees
from repro.environments.interpreters import Candidate
from repro.environments.machine import Machine
from repro.environments.order import Order
from repro.environments.restore import Plan, plan_restore
from repro.environments.trees import Tree
from repro.errors import ReproError, RestoreError, UsageError
from repro.files import BLOCK_BYTES, open_atomically
from repro.formats.bundle import CONTENTS, MANIFEST, PYLOCK, WHEELS, Manifest, format_manifest
from repro.formats.direct_url import Index
from repro.formats.lockfile import FILE_NAME as LOCK
from repro.formats.lockfile import Distribution, Interpreter, Snapshot, format_snapshot
from repro.formats.pylock import LocalFile, format_pylock
from repro.snapshots.load import Loaded, is_bundle_name, locate_lock, parse_lock, read_lock
from repro.values import frozen, replace

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


@frozen
class BundleRequest:
    """What a caller asks for: the zip of a lock, which is named by its path or its directory."""

    lock: Path
    output: Path
    python: str | None = None
    offline: bool = False
    allow_missing: bool = False


@frozen
class Bundled:
    """What was written: `digest` is that of the lock in the bundle, `left_out` names what is not in it and why."""

    lock: Path
    path: Path
    snapshot: Snapshot
    size_bytes: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


@frozen
class Wheel:
    """A wheel that goes into a bundle: where it lies, its sha256 (64 hex digits) and its record digest."""

    path: Path
    sha256: str
    record: str


def _describe_missing(each: Distribution) -> str:
    reason = "its wheel is not in this cache" if each.kept else "the lock names no file for it"
    return f"{each.name} {each.version}: {reason} ({each.source.kind})"


def _refuse_missing(missing: Sequence[Distribution], path: Path) -> None:
    if missing:
        raise RestoreError(
            f"{len(missing)} distribution(s) of `{path}` cannot be bundled: there is no file of them",
            hint="leave them out with `--allow-missing`, or name the cache that has them with `--cache DIR`",
            details=tuple(map(_describe_missing, missing)),
        )


def _refuse_platform(locked: Interpreter | None, here: Interpreter, path: Path) -> None:
    if locked and locked.platform != here.platform:
        raise RestoreError(
            f"the lock `{path}` is for {locked.platform}, and this is {here.platform}",
            hint="bundle it on a machine of its platform: a bundle holds the wheels of one",
        )


def _fetch_again(machine: Machine, order: Order, wanted: Sequence[Distribution]) -> dict[str, Tree]:
    """Return trees whose wheels the store has: it may have dropped a wheel of which the tree is left."""
    source = open_source(machine, order)
    with machine.store.stage() as directory:
        trees = replace(source.trees, root=Path(directory))
        return fetch_trees(replace(source, trees=trees), wanted)


def _gather(machine: Machine, order: Order) -> dict[str, Wheel]:
    """Return the wheel of each entry, by name: those that a restore takes here, verified as a restore does.

    Raises RestoreError.
    """
    wheelhouse = machine.store.open_wheelhouse()
    trees = fetch_trees(open_source(machine, order), order.wanted)
    bare = [each for each in order.wanted if wheelhouse.find(trees[each.name].sha256) is None]
    trees |= _fetch_again(machine, order, bare) if bare else {}
    verify_trees(order, list(trees.values()))
    wheels = {}
    for name, tree in trees.items():
        path = wheelhouse.find(tree.sha256)
        if path is None:
            raise RestoreError(f"the wheel of `{name}` went away while it was bundled", hint="bundle it again")
        wheels[name] = Wheel(path=path, sha256=tree.sha256, record=tree.record)
    return wheels


def name_wheel(distribution: Distribution, wheel: Wheel) -> Distribution:
    """Return an entry that installers find its wheel by; one whose hashes name the wheel stays as it is.

    The identity of an entry, and so the digest of its lock, changes only where the files are others: of an archive or a
    commit the wheel is kept, as a snapshot keeps it, and of an sdist the wheel's hash joins the sdist's.
    """
    hash_ = f"sha256:{wheel.sha256}"
    is_index = isinstance(distribution.source, Index)
    if hash_ in distribution.hashes and (is_index or distribution.kept):
        return distribution
    if is_index:
        file = wheel.path.name if distribution.file else None
        return replace(distribution, hashes=(hash_, *distribution.hashes), file=file)
    file = wheel.path.name if distribution.file else None
    record = wheel.record if distribution.record else None
    return replace(distribution, kept=True, hashes=(hash_,), file=file, record=record)


def _name_wheels(loaded: Loaded, wheels: Mapping[str, Wheel], python: Interpreter) -> Snapshot:
    """Return the snapshot of the bundle: only what has a wheel, and always for one Python."""
    named = tuple(name_wheel(each, wheels[each.name]) for each in loaded.snapshot.distributions if each.name in wheels)
    return replace(loaded.snapshot, interpreter=loaded.snapshot.interpreter or python, distributions=named)


def _refuse_twins(wheels: Mapping[str, Wheel]) -> None:
    names = [wheel.path.name.casefold() for wheel in wheels.values()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RestoreError("two distributions have wheels of the same name", details=tuple(twice))


def _format_texts(snapshot: Snapshot, content: bytes, loaded: Loaded, wheels: Mapping[str, Wheel]) -> dict[str, bytes]:
    """Return the text members. Raises ReproError for what PEP 751 cannot say."""
    files = {
        name: (LocalFile(path=f"{WHEELS}/{each.path.name}", sha256=each.sha256, size_bytes=each.path.stat().st_size),)
        for name, each in wheels.items()
    }
    try:
        pylock = format_pylock(snapshot, files)
    except ValueError as error:
        raise ReproError(f"`{loaded.path}` cannot be written as pylock.toml: {error}") from error
    there = {each.name for each in snapshot.distributions}
    left_out = [f"{each.name} {each.version}" for each in loaded.snapshot.distributions if each.name not in there]
    manifest = Manifest(contents=CONTENTS, digest=snapshot.compute_digest(), left_out=tuple(left_out))
    is_same = snapshot == loaded.snapshot and content.isascii()
    lock = content if is_same else format_snapshot(snapshot).encode()
    return {MANIFEST: format_manifest(manifest).encode(), PYLOCK: pylock.encode(), LOCK: lock}


def _make_info(name: str, size_bytes: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = _MODE << 16
    info.file_size = size_bytes  # zipfile decides by it whether the member needs ZIP64
    return info


def _add_wheel(archive: zipfile.ZipFile, wheel: Wheel) -> None:
    """Copy a wheel into a zip, hashing it. Raises RestoreError where it is not what it was when it was kept."""
    digest = hashlib.sha256()
    info = _make_info(f"{WHEELS}/{wheel.path.name}", wheel.path.stat().st_size)
    with wheel.path.open("rb") as source, archive.open(info, "w") as target:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            target.write(block)
    if digest.hexdigest() != wheel.sha256:
        raise RestoreError(
            f"the kept wheel `{wheel.path.name}` was changed: its sha256 is not {wheel.sha256}",
            hint=f"remove `{wheel.path.parent}`, and bundle it again",
        )


def write_bundle(path: Path, texts: Mapping[str, bytes], wheels: Sequence[Wheel]) -> None:
    """Write the zip, all or nothing; equal content gives equal bytes: sorted, stored, and without times.

    Raises RestoreError and OSError.
    """
    with open_atomically(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(texts):
            archive.writestr(_make_info(name, len(texts[name])), texts[name])
        for wheel in sorted(wheels, key=lambda each: each.path.name):
            _add_wheel(archive, wheel)


def _make_order(loaded: Loaded, plan: Plan, candidate: Candidate, request: BundleRequest) -> Order:
    return Order(
        snapshot=loaded.snapshot,
        wanted=(*plan.files, *plan.commits),
        candidate=candidate,
        key="",
        project=loaded.path.parent,
        offline=request.offline,
    )


def _write(machine: Machine, request: BundleRequest, texts: Mapping[str, bytes], wheels: Mapping[str, Wheel]) -> None:
    machine.report(f"writing {request.output.name}: {len(wheels)} wheels")
    try:
        write_bundle(request.output, texts, list(wheels.values()))
    except OSError as error:
        raise ReproError(
            f"`{request.output}` cannot be written ({error.strerror or error})", hint="name another with `-o FILE.zip`"
        ) from error


def _bundle(machine: Machine, request: BundleRequest, loaded: Loaded, content: bytes) -> Bundled:
    """Write the zip of a lock that was read; what the store has stays for as long as that takes."""
    wheelhouse = machine.store.open_wheelhouse()
    plan = plan_restore(loaded.snapshot, has=lambda sha256: wheelhouse.find(sha256) is not None)
    if not request.allow_missing:
        _refuse_missing(plan.missing, loaded.path)
    candidate = machine.make_finder().find(loaded.snapshot.interpreter, given=request.python)
    _refuse_platform(loaded.snapshot.interpreter, candidate.interpreter, loaded.path)
    wheels = _gather(machine, _make_order(loaded, plan, candidate, request))
    _refuse_twins(wheels)
    snapshot = _name_wheels(loaded, wheels, candidate.interpreter)
    _write(machine, request, _format_texts(snapshot, content, loaded, wheels), wheels)
    return Bundled(
        lock=loaded.path,
        path=request.output,
        snapshot=snapshot,
        size_bytes=request.output.stat().st_size,
        left_out=tuple(map(_describe_missing, plan.missing)),
        notes=loaded.notes,
    )


def bundle_lock(machine: Machine, request: BundleRequest) -> Bundled:
    """Write a lock and its wheels into one zip and say what is in it.

    Raises UsageError for a name that would not be known as a bundle, SnapshotNotFoundError, InvalidSnapshotError,
    InterpreterNotFoundError, and RestoreError where a wheel cannot be had.
    """
    if not is_bundle_name(request.output.name):
        raise UsageError(
            f"`{request.output.name}` is no name for a bundle: it is known by `.zip`", hint="-o project.zip"
        )
    path = locate_lock(request.lock)
    content = read_lock(path)
    loaded = parse_lock(content, path=path)
    machine.store.prepare()
    with machine.hold_store():
        return _bundle(machine, request, loaded, content)
