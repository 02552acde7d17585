"""Look at every file of site directories, to tell whether any has changed since they were looked at before.

Each file is counted with its ctime: the kernel sets it at every change of content, name or mode, and no program can set
it back. Two equal sums mean that nothing was changed, also not in place, whatever the size and mtime say.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Sweep:
    """How many entries there are, and the sum of the files' ctimes in ns; `__pycache__` is left out."""

    __slots__ = ("count", "ctimes_ns")

    def __init__(self, count: int, ctimes_ns: int) -> None:
        self.count = count
        self.ctimes_ns = ctimes_ns

    def __str__(self) -> str:
        return f"{self.count} {self.ctimes_ns}"

    def __add__(self, other: Sweep) -> Sweep:
        return Sweep(self.count + other.count, self.ctimes_ns + other.ctimes_ns)


def is_swept(site: str) -> bool:
    """Tell whether a directory holds installed packages alone: what a .pth file adds may be a whole project."""
    return os.path.basename(site) in ("site-packages", "dist-packages")


def _sum_one(directory: str, below: list[str]) -> tuple[int, int]:
    """Return the sums over one directory, and add its own to `below`.

    A directory's time does not count: it changes when Python makes a `__pycache__`, and what is in it is counted.
    """
    count = total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            count += 1
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
            else:
                total += entry.stat(follow_symlinks=False).st_ctime_ns
    return count, total


def _sum_below(pending: list[str]) -> tuple[int, int]:
    count = total = 0
    while pending:
        here, ctimes_ns = _sum_one(pending.pop(), pending)
        count += here
        total += ctimes_ns
    return count, total


def sweep(sites: Iterable[str], *, split: bool = False) -> Sweep:
    """Return the sums over the files below `sites`.

    With `split` two processes share the work: for a process without other threads only, which it does not ask. Raises
    OSError where a directory cannot be read.
    """
    directories: list[str] = []
    count = total = 0
    for site in sites:
        here, ctimes_ns = _sum_one(site, directories)
        count += here
        total += ctimes_ns
    more = _sum_in_two(directories) if split else _sum_below(directories)
    return Sweep(count + more[0], total + more[1])


def _sum_in_two(directories: list[str]) -> tuple[int, int]:
    """Sum every other directory in a child: the kernel's work on files takes longer than starting one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "{} {}".format(*_sum_below(directories[::2])).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        count, total = _sum_below(directories[1::2])
        answer = os.read(reading, 256).split()
    finally:
        os.close(reading)
        os.waitpid(child, 0)
    if len(answer) != 2:
        return _sum_below(directories)
    return count + int(answer[0]), total + int(answer[1])
