"""Take the wheels of a bundle into the store: all of them checked against its lock, or none taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from repro.environments.machine import Machine
from repro.errors import InvalidSnapshotError, RestoreError
from repro.formats.bundle import Member
from repro.formats.lockfile import Distribution, Interpreter, Snapshot, canonicalize_name
from repro.snapshots.bundled import OpenBundle, open_bundle
from repro.snapshots.wheelhouse import Wheelhouse
from repro.values import frozen


@frozen
class _Found:
    """A wheel of the bundle, its file name, and the entry of the lock that it is for."""

    member: Member
    file: str
    distribution: Distribution


@frozen
class _Staged:
    """A wheel that was copied out of the bundle and hashed."""

    path: Path
    sha256: str


def _find_owner(file: str, entries: Mapping[str, Distribution]) -> Distribution | None:
    """Return the entry that a wheel is for, by name and version."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    try:
        name, version, _, _ = parse_wheel_filename(file)
        entry = entries.get(canonicalize_name(name))
        return entry if entry and Version(entry.version) == version else None
    except (InvalidWheelFilename, InvalidVersion):
        return None


def _match_wheels(members: Sequence[Member], snapshot: Snapshot) -> tuple[list[_Found], list[str]]:
    """Return the wheels with their entries, and a sentence for each without an entry and each entry without a wheel."""
    entries = {each.name: each for each in snapshot.distributions}
    found, faults = [], []
    for member in members:
        if member.wheel is None:
            continue
        if owner := _find_owner(member.wheel, entries):
            found.append(_Found(member=member, file=member.wheel, distribution=owner))
        else:
            faults.append(f"`{member.name}` is no wheel of its lock")
    there = {each.distribution.name for each in found}
    faults += [
        f"there is no wheel of {each.name} {each.version}" for each in entries.values() if each.name not in there
    ]
    return found, faults


def _list_unfit(found: Sequence[_Found], python: Interpreter) -> Iterator[str]:
    from repro.formats.target import make_target

    target = make_target(python)
    fitting = {each.distribution.name for each in found if target.accepts(each.file)}
    yield from (each.file for each in found if each.distribution.name not in fitting)


def _refuse_unfit(path: Path, found: Sequence[_Found], python: Interpreter) -> None:
    if unfit := tuple(_list_unfit(found, python)):
        raise RestoreError(
            f"{len(unfit)} wheel(s) of `{path}` do not fit Python {python.version} ({python.abi}) on {python.platform}",
            hint="make the bundle on a machine like this one, or name another interpreter with `--python PATH`",
            details=unfit,
        )


def _has_all(wheelhouse: Wheelhouse, found: Sequence[_Found]) -> bool:
    """Tell whether the store has each of these wheels already."""

    def has(each: _Found) -> bool:
        kept = (wheelhouse.find(hash_.removeprefix("sha256:")) for hash_ in each.distribution.hashes)
        return any(wheel is not None and wheel.name == each.file for wheel in kept)

    return all(map(has, found))


def _stage(bundle: OpenBundle, each: _Found, directory: Path) -> _Staged:
    """Copy a wheel out of the bundle, hashing it. Raises InvalidSnapshotError where the lock does not allow it."""
    directory.mkdir(parents=True)
    path, digest = directory / each.file, hashlib.sha256()
    with path.open("xb") as target:
        for block in bundle.read_blocks(each.member):
            digest.update(block)
            target.write(block)
    sha256 = digest.hexdigest()
    if f"sha256:{sha256}" not in each.distribution.hashes:
        raise InvalidSnapshotError(
            f"`{each.member.name}` of `{bundle.path}` has another sha256 than its lock says",
            hint="do not use it: it was changed after it was made",
            details=(f"locked {', '.join(each.distribution.hashes) or 'none'}", f"found sha256:{sha256}"),
        )
    return _Staged(path=path, sha256=sha256)


def _take_wheels(machine: Machine, bundle: OpenBundle, found: Sequence[_Found]) -> None:
    """Check every wheel, then keep them all. Raises InvalidSnapshotError and RestoreError."""
    store = machine.store
    store.prepare()
    wheelhouse = store.open_wheelhouse()
    if _has_all(wheelhouse, found):
        return
    try:
        machine.report(f"checking {len(found)} wheels of {bundle.path.name}")
        with store.stage() as directory:
            staged = [_stage(bundle, each, Path(directory, str(number))) for number, each in enumerate(found)]
            for wheel in staged:
                wheelhouse.adopt(wheel.path, wheel.sha256)
    except OSError as error:
        raise RestoreError(
            f"the wheels of `{bundle.path}` cannot be kept in `{store.root}` ({error.strerror or error})",
            hint="make room, or name another cache with `--cache DIR`",
        ) from error


def take_bundle(machine: Machine, path: Path, snapshot: Snapshot, *, python: str | None) -> tuple[str, ...]:
    """Take a bundle's wheels into the store and return what its reader should know.

    `snapshot` is that of its lock. Raises InvalidSnapshotError, InterpreterNotFoundError and RestoreError, each of them
    before anything is kept.
    """
    with open_bundle(path) as bundle:
        found, faults = _match_wheels(bundle.members, snapshot)
        if faults:
            raise InvalidSnapshotError(
                f"`{path}` does not hold the wheels of its lock",
                hint="make it again with `repro bundle`",
                details=tuple(faults),
            )
        candidate = machine.make_finder().find(snapshot.interpreter, given=python)
        _refuse_unfit(path, found, candidate.interpreter)
        _take_wheels(machine, bundle, found)
        return tuple(f"the bundle was made without {each}" for each in bundle.manifest.left_out)
