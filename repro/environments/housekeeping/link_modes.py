"""Which ways of sharing files a directory's file system has: reflink, hard link; a copy works everywhere."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator

from repro.files import remove_tree

PREFIX = ".repro-probe-"
_LEFTOVER_S = 3600.0
_FICLONE = 0x40049409  # ioctl_ficlone(2): share the blocks of another file, copied when one is written


def _can_reflink(source: str, target: str) -> bool:
    import fcntl

    try:
        with open(source, "rb") as origin, open(target, "wb") as clone:
            fcntl.ioctl(clone.fileno(), _FICLONE, origin.fileno())
    except OSError:
        return False
    return True


def _can_link(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def list_dead_probes(directory: str) -> Iterator[str]:
    """Yield what trying out left in a directory where it was killed: it takes a moment, so what is old is dead."""
    with os.scandir(directory) as entries:
        for entry in entries:
            is_probe = entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)
            if is_probe and time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFTOVER_S:
                yield entry.path


def find_link_modes(directory: str) -> tuple[str, ...]:
    """Return the modes that work in a directory, best first; tried out there. Raises OSError where it is read-only."""
    for path in list(list_dead_probes(directory)):
        remove_tree(path)
    scratch = tempfile.mkdtemp(prefix=PREFIX, dir=directory)
    try:
        source = os.path.join(scratch, "source")
        with open(source, "wb") as file:
            file.write(b"repro" * 1000)
        modes = ["reflink"] if _can_reflink(source, f"{scratch}/clone") else []
        modes += ["hard link"] if _can_link(source, f"{scratch}/link") else []
    finally:
        remove_tree(scratch)
    return (*modes, "copy")
