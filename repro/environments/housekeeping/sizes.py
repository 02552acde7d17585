"""How much disk entries of the store take, each inode counted once.

Sizes are of blocks (`du`), in bytes. Blocks that reflinks share are counted for each file: the kernel does not say.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from repro.values import frozen

_BLOCK_BYTES = 512  # of st_blocks, whatever the file system has (POSIX)


def _walk(path: str) -> Iterator[os.stat_result]:
    """Yield what lstat says of an entry and everything below it; what is gone meanwhile is left out."""
    try:
        found = os.lstat(path)
    except OSError:
        return
    yield found
    pending = [path] if found.st_mode & 0o170000 == 0o040000 else []
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue


@frozen
class Size:
    """What goes with an entry (`own_bytes`), and what other names of the same files would keep (`shared_bytes`)."""

    own_bytes: int
    shared_bytes: int


def measure(path: str) -> Size:
    """Return the size of an entry. A file is shared where it has names outside of it."""
    own = shared = 0
    linked: Counter[tuple[int, int]] = Counter()
    facts: dict[tuple[int, int], tuple[int, int]] = {}
    for found in _walk(path):
        size = found.st_blocks * _BLOCK_BYTES
        if found.st_nlink == 1 or found.st_mode & 0o170000 == 0o040000:
            own += size
        else:
            inode = found.st_dev, found.st_ino
            linked[inode] += 1
            facts[inode] = size, found.st_nlink
    for inode, (size, links) in facts.items():
        if linked[inode] == links:
            own += size
        else:
            shared += size
    return Size(own_bytes=own, shared_bytes=shared)


class Meter:
    """Add up entries; an inode that was counted with an earlier one does not count again."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def count(self, paths: Iterable[str]) -> int:
        """Return the bytes that these entries add."""
        total = 0
        for path in paths:
            for found in _walk(path):
                inode = found.st_dev, found.st_ino
                if inode not in self._seen:
                    self._seen.add(inode)
                    total += found.st_blocks * _BLOCK_BYTES
        return total


def format_bytes(size_bytes: int) -> str:
    """Return a size for people: `1.5 GB`, powers of 1000."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
