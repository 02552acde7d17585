"""Which ways of sharing files a directory's file system has: reflink, hard link; a copy works everywhere."""

from __future__ import annotations

import os
import tempfile

from repro.files import remove_tree

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


def find_link_modes(directory: str) -> tuple[str, ...]:
    """Return the modes that work in a directory, best first; tried out there. Raises OSError where it is read-only."""
    scratch = tempfile.mkdtemp(prefix=".repro-probe-", dir=directory)
    try:
        source = os.path.join(scratch, "source")
        with open(source, "wb") as file:
            file.write(b"repro" * 1000)
        modes = ["reflink"] if _can_reflink(source, f"{scratch}/clone") else []
        modes += ["hard link"] if _can_link(source, f"{scratch}/link") else []
    finally:
        remove_tree(scratch)
    return (*modes, "copy")
