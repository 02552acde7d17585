"""Unpack a project's zip into a tree of the store: checked as a whole before one byte of it is written.

<store>/archives/<sha256>      a zip that was fetched, so that it runs without the network too
<store>/seen/<digest of URL>   the sha256 that a URL led to
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from repro.environments.machine import Machine
from repro.errors import ProjectError, ReproError, UsageError
from repro.files import make_directory, sha256_file, write_atomically
from repro.formats.zip_members import Member, find_member_faults
from repro.projects.location import ZipLocation
from repro.projects.pool import Note, Recipe, lend_tree
from repro.snapshots.zip_reading import BROKEN, describe, read_blocks
from repro.values import frozen

MAX_BYTES = 1 << 30
"""How large a zip may be."""
MAX_UNPACKED_BYTES = 4 << 30
"""How large everything in it may be together."""
_EXECUTABLE, _PLAIN = 0o755, 0o644


@frozen
class Unpacked:
    """A zip's files in `root`, which are this run's alone, and its sha256 (64 hex digits)."""

    root: Path
    sha256: str


def _refuse(place: str, faults: Iterator[str]) -> None:
    if found := tuple(faults):
        raise ProjectError(
            f"`{place}` is no zip that can be trusted: {len(found)} fault(s)",
            hint="nothing of it was unpacked",
            details=found[:20],
        )


def _find_faults(members: tuple[Member, ...], archive_bytes: int) -> Iterator[str]:
    """Yield a sentence for each thing that no project's zip may have."""
    yield from find_member_faults(members, archive_bytes, whole="project", max_ratio=None)
    total = sum(member.size_bytes for member in members)
    if total > MAX_UNPACKED_BYTES:
        yield f"it unpacks to {total} bytes, more than {MAX_UNPACKED_BYTES}"
    files = {member.name for member in members if not member.is_directory}
    for member in members:
        parts = member.name.rstrip("/").split("/")
        if any(part.lower() == ".git" for part in parts):
            yield f"`{ascii(member.name)[1:-1]}` is of a repository; a zip of its files is taken"
        if not files.isdisjoint("/".join(parts[:count]) for count in range(1, len(parts))):
            yield f"`{ascii(member.name)[1:-1]}` lies in a file"


def _write_member(archive: zipfile.ZipFile, member: Member, tree: Path) -> None:
    target = tree / member.name
    if member.is_directory:
        make_directory(target)
        return
    make_directory(target.parent)
    with target.open("xb") as file:
        for block in read_blocks(archive, member):
            file.write(block)
    target.chmod(_EXECUTABLE if member.mode & 0o111 else _PLAIN)


def unpack(path: Path, tree: Path, *, place: str) -> None:
    """Unpack a zip into an empty directory. Raises ProjectError, which names each fault, and OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = tuple(describe(info, Member) for info in archive.infolist())
            _refuse(place, _find_faults(members, path.stat().st_size))
            for member in members:
                _write_member(archive, member, tree)
    except BROKEN as error:
        raise ProjectError(
            f"`{place}` is no zip, or it is damaged or cut off ({error})", hint="copy or fetch it again"
        ) from error


def _list_files(tree: Path) -> dict[str, list[int]]:
    """Return size, mtime and mode of everything in a tree, by its path."""
    found = {}
    for root, names, files in os.walk(tree):
        for name in (*names, *files):
            path = os.path.join(root, name)
            facts = os.lstat(path)
            is_directory = name in names
            found[os.path.relpath(path, tree)] = (
                [0, 0, facts.st_mode] if is_directory else [facts.st_size, facts.st_mtime_ns, facts.st_mode]
            )
    return found


def _remove_foreign(tree: Path, known: Note) -> None:
    """Remove what an earlier run has left in a tree."""
    for name in sorted(set(_list_files(tree)) - set(known), key=len, reverse=True):
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _refresh(tree: Path, note: Note) -> bool:
    files = note.get("files")
    if not isinstance(files, dict):
        return False
    try:
        _remove_foreign(tree, files)
        return _list_files(tree) == files
    except OSError:
        return False


def _check_size(path: Path, place: str) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ProjectError(
            f"`{place}` has {size} bytes, more than {MAX_BYTES}", hint="unpack it, and name the directory"
        )


class _Bounded(io.FileIO):
    """A file that takes no more than a zip may have, whatever a server sends."""

    def write(self, content: object, /) -> int:
        """Write, up to the limit. Raises ProjectError."""
        if self.tell() + len(content) > MAX_BYTES:  # type: ignore[arg-type]
            raise ProjectError(f"the zip has more than {MAX_BYTES} bytes", hint="unpack it, and name the directory")
        return super().write(content)  # type: ignore[arg-type]


def _download(machine: Machine, location: ZipLocation, target: Path) -> None:
    """Fetch a zip, with the login of its URL or of netrc. Raises ReproError."""
    from repro.snapshots.access import Access
    from repro.snapshots.door import Door
    from repro.snapshots.indexes import Indexes
    from repro.snapshots.pins import FetchError

    url = location.url or ""
    machine.report(f"fetching {location.place}")
    door = Door(Access(Indexes(no_index=True, find_links=(url,)), machine.environ))
    try:
        with _Bounded(target, "wb") as file:
            into: IO[bytes] = file
            response = door.get(url, {"Accept-Encoding": "identity"}, into=into)
    finally:
        door.close()
    if response.status != 200:
        raise FetchError(f"`{location.place}` cannot be fetched (HTTP {response.status})", hint="check the URL")


def _keep(machine: Machine, location: ZipLocation) -> str:
    """Fetch a zip into the store and return its sha256."""
    store = machine.store
    with store.stage() as stage:
        target = Path(stage, "project.zip")
        _download(machine, location, target)
        sha256 = sha256_file(target)
        os.replace(target, store.room("archives", sha256))
    write_atomically(_seen_path(machine, location), f"{sha256}\n", durable=False)
    return sha256


def _seen_path(machine: Machine, location: ZipLocation) -> str:
    return machine.store.room("seen", hashlib.sha256(f"zip\0{location.url}".encode()).hexdigest())


def _find_kept(machine: Machine, location: ZipLocation) -> str:
    """Return the sha256 of a zip that was fetched earlier. Raises UsageError."""
    with suppress(OSError, UnicodeDecodeError):
        sha256 = Path(_seen_path(machine, location)).read_text(encoding="utf-8").strip()
        kept = machine.store.room("archives", sha256)
        if len(sha256) == 64 and os.path.isfile(kept) and sha256_file(kept) == sha256:
            return sha256
    raise UsageError(f"offline, and `{location.place}` is not in the cache", hint="run it once without `--offline`")


def _fetch(machine: Machine, location: ZipLocation) -> str:
    """Fetch a zip into the store; of a server that is away say what would run without it."""
    from repro.snapshots.pins import IndexUnreachableError

    try:
        return _keep(machine, location)
    except IndexUnreachableError as error:
        with suppress(UsageError):
            sha256 = _find_kept(machine, location)
            error.hint = f"`--offline` runs the zip {sha256[:12]}, which it was when it was last fetched"
        raise


def _find_zip(machine: Machine, location: ZipLocation, *, offline: bool) -> tuple[Path, str]:
    """Return where a zip lies on this machine, and its sha256."""
    if location.path:
        _check_size(location.path, location.place)
        return location.path, sha256_file(location.path)
    sha256 = _find_kept(machine, location) if offline else _fetch(machine, location)
    return Path(machine.store.room("archives", sha256)), sha256


def _make(path: Path, tree: Path, location: ZipLocation, sha256: str) -> Note:
    """Unpack a copy of the zip, which nobody changes meanwhile."""
    copy = tree.parent.parent / "project.zip"
    shutil.copyfile(path, copy)
    if sha256_file(copy) != sha256:
        raise ReproError(f"`{location.place}` was changed while it was read", hint="run it again")
    unpack(copy, tree, place=location.place)
    copy.unlink()
    return {"sha256": sha256, "uri": location.name, "files": _list_files(tree)}


@contextmanager
def open_archive(machine: Machine, location: ZipLocation, *, offline: bool = False) -> Iterator[Unpacked]:
    """Have a zip's files for the block. Raises UsageError, ProjectError and ReproError."""
    machine.store.prepare()
    try:
        path, sha256 = _find_zip(machine, location, offline=offline)
    except OSError as error:
        raise ReproError(f"`{location.place}` cannot be read ({error.strerror or error})") from error
    recipe = Recipe(
        key=hashlib.sha256(f"zip\0{sha256}".encode()).hexdigest()[:16],
        make=lambda tree: _make(path, tree, location, sha256),
        refresh=_refresh,
    )
    with lend_tree(machine.store, recipe, report=machine.report) as tree:
        yield Unpacked(root=tree, sha256=sha256)
