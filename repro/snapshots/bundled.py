"""Open a bundle: its members are checked before one is read, and none is read further than it says it goes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.errors import InvalidSnapshotError, SnapshotNotFoundError
from repro.formats.bundle import MANIFEST, Manifest, Member, find_faults, find_strangers, parse_manifest
from repro.formats.lockfile import FILE_NAME as LOCK
from repro.snapshots.zip_reading import BROKEN, describe, read_blocks
from repro.values import frozen


def _refuse(path: Path, faults: Iterator[str] | list[str]) -> None:
    if found := tuple(faults):
        raise InvalidSnapshotError(
            f"`{path}` is no bundle that can be trusted: {len(found)} fault(s)",
            hint="nothing of it was used; make it again with `repro bundle`",
            details=found[:20],
        )


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn what a broken zip raises into one sentence."""
    try:
        yield
    except BROKEN as error:
        raise InvalidSnapshotError(
            f"`{path}` is no zip, or it is damaged or cut off ({error})",
            hint="copy it again, or make it again with `repro bundle`",
        ) from error
    except FileNotFoundError:
        raise SnapshotNotFoundError(
            f"there is no bundle at `{path}`", hint="make one with `repro bundle DIR -o FILE.zip`"
        ) from None
    except OSError as error:
        raise SnapshotNotFoundError(f"`{path}` cannot be read ({error.strerror or error})") from error


@frozen
class OpenBundle:
    """A bundle whose directory was checked; its content is checked as it is read."""

    path: Path
    members: tuple[Member, ...]
    manifest: Manifest
    _archive: zipfile.ZipFile

    def read_blocks(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member. Raises InvalidSnapshotError where it is not what the zip says of it."""
        yield from _read_blocks(self.path, self._archive, member)

    def read_lock(self) -> bytes:
        """Return the lock's bytes."""
        return _read_text(self.path, self._archive, self.members, LOCK)


def _read_blocks(path: Path, archive: zipfile.ZipFile, member: Member) -> Iterator[bytes]:
    with _explain(path):
        yield from read_blocks(archive, member)


def _read_text(path: Path, archive: zipfile.ZipFile, members: tuple[Member, ...], name: str) -> bytes:
    member = next(each for each in members if each.name == name)
    return b"".join(_read_blocks(path, archive, member))


@contextmanager
def open_bundle(path: Path) -> Iterator[OpenBundle]:
    """Open a bundle after checking every name, kind and size that its directory states.

    Raises SnapshotNotFoundError, and InvalidSnapshotError, which names each fault.
    """
    with _explain(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = tuple(describe(info, Member) for info in archive.infolist())
        if all(member.name != MANIFEST for member in members):  # of one cut off, a wheel in it may be found
            raise InvalidSnapshotError(
                f"`{path}` is no bundle, or it is damaged or cut off: there is no `{MANIFEST}` in it",
                hint="copy it again, or make it with `repro bundle`",
            )
        _refuse(path, find_faults(members, os.stat(path).st_size))
        try:
            manifest = parse_manifest(_read_text(path, archive, members, MANIFEST))
        except ValueError as error:
            raise InvalidSnapshotError(
                f"`{path}` is no bundle that can be read: {error}", hint="install the newest repro, or make it again"
            ) from error
        _refuse(path, find_strangers(members, manifest))
        yield OpenBundle(path=path, members=members, manifest=manifest, _archive=archive)


def read_bundled_lock(path: Path) -> bytes:
    """Return the bytes of a bundle's lock; of the rest only the directory is read. Raises as `open_bundle` does."""
    with open_bundle(path) as bundle:
        return bundle.read_lock()
