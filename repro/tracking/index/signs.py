"""Tell whether a file is still the one that was read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from repro.formats.run_meta import HALF_WRITTEN

NO_FILE = 0
"""The sign of what is not there, and of what nothing is known of."""
UNLISTED = -1
"""Stands for the sign of what the index has never held; no sign is that."""
SETTLED_NS = 2_000_000_000
"""How long after a change another one may have the same time: FAT has steps of 2 s, NFS and HFS+ of 1 s."""

_BLOCK_BYTES = 1 << 16


def sign(found: os.stat_result) -> int:
    """Return a number that changes with a file's content: 64 bits, signed, never `NO_FILE`."""
    return hash((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)) or 1


def change_time_ns(found: os.stat_result) -> int:
    """Return when a file has changed last."""
    return found.st_ctime_ns  # whoever may set an mtime, nobody sets this


def _read_all(descriptor: int) -> bytes:
    first = os.read(descriptor, _BLOCK_BYTES)
    if len(first) < _BLOCK_BYTES:
        return first
    blocks = [first]
    while blocks[-1]:
        blocks.append(os.read(descriptor, _BLOCK_BYTES))
    return b"".join(blocks)


class Folder:
    """An experiment's directory, held open; `name` is its path from the root of the store (`7`, `.trash/7`).

    Paths are relative to it, and None is what is not there. Raises OSError for a directory that is none.
    """

    def __init__(self, root: str, name: str) -> None:
        self.name = name
        self.path = f"{root}/{name}"
        self.experiment_id = name.rpartition("/")[2]
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def look_at(self, path: str) -> os.stat_result | None:
        """Return how a file or directory stands."""
        try:
            return os.stat(path, dir_fd=self.descriptor)
        except OSError:
            return None

    def sign(self, path: str) -> int:
        """Return the sign of a file or directory."""
        found = self.look_at(path)
        return NO_FILE if found is None else sign(found)

    def sign_all(self, paths: Iterable[str]) -> list[int]:
        """Return the signs of many files: this is what a search spends its time with."""
        signs, stat, descriptor = [], os.stat, self.descriptor
        for path in paths:
            try:
                found = stat(path, dir_fd=descriptor)
            except OSError:
                signs.append(NO_FILE)
            else:  # as `sign` does
                signs.append(hash((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)) or 1)
        return signs

    def read(self, path: str) -> tuple[os.stat_result, bytes | None] | None:
        """Return how a file stands, and its bytes; what is no regular file has none."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.descriptor)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)  # before it is read: who changes it now changes its sign
            return found, _read_all(descriptor) if stat.S_ISREG(found.st_mode) else None
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def list_names(self) -> list[str]:
        """Return the names of what lies in it."""
        return [name for name in os.listdir(self.descriptor) if is_storable(name)]

    def list_files(self, path: str) -> tuple[list[str], list[str], os.stat_result] | None:
        """Return the files and the directories directly in a directory, and how it stood before they were listed."""
        found = self.look_at(path)
        try:
            entries = [entry for entry in os.scandir(f"{self.path}/{path}") if is_storable(entry.name)]
        except OSError:
            return None
        dirs = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        files = [entry.name for entry in entries if entry.is_file() and not HALF_WRITTEN.fullmatch(entry.name)]
        return None if found is None else (files, dirs, found)


def is_storable(name: str) -> bool:
    """Tell whether a file's name is text at all."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
