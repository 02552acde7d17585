"""Look at every file of site directories, to tell whether any has changed since they were looked at before.

Each file is counted with its ctime: the kernel sets it at every change of content, name or mode, and no program can set
it back. Two equal sums mean that nothing was changed, also not in place, whatever the size and mtime say.
"""

from __future__ import annotations

import os
import time
from _signal import SIGKILL, alarm  # type: ignore[import-not-found] # the signal package would import enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST_S = 60
_FRESH_S = 2.0  # longer than starting takes on a slow machine, shorter than an install by hand


class Sweep:
    """How many entries there are, the sum of the files' ctimes in ns, and the newest of them.

    What is written down of it is the first two: `__str__`.
    """

    __slots__ = ("count", "ctimes_ns", "newest_ns")

    def __init__(self, count: int, ctimes_ns: int, newest_ns: int = 0) -> None:
        self.count = count
        self.ctimes_ns = ctimes_ns
        self.newest_ns = newest_ns

    def __str__(self) -> str:
        return f"{self.count} {self.ctimes_ns}"

    def __add__(self, other: Sweep) -> Sweep:
        newest_ns = max(self.newest_ns, other.newest_ns)
        return Sweep(self.count + other.count, self.ctimes_ns + other.ctimes_ns, newest_ns)


_NOTHING = Sweep(0, 0)


def is_swept(site: str) -> bool:
    """Tell whether a directory holds installed packages alone: what a .pth file adds may be a whole project."""
    return os.path.basename(site) in ("site-packages", "dist-packages")


def _look(directory: str, below: list[str], caches: list[str], ctimes_ns: list[int], *, but: str = "") -> int:
    """Return how many entries a directory has; add its own to `below`, those of bytecode to `caches`, and the ctimes.

    A directory's time does not count: it changes when Python makes a `__pycache__`, and what is in it is counted.
    """
    count = 0
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)  # names below it cost the kernel less than whole paths
    try:
        with os.scandir(opened) as entries:
            for entry in entries:
                name = entry.name
                if name == "__pycache__":
                    caches.append(f"{directory}/{name}")
                elif name != but:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        below.append(f"{directory}/{name}")
                    else:
                        ctimes_ns.append(entry.stat(follow_symlinks=False).st_ctime_ns)
    finally:
        os.close(opened)
    return count


def _sum_one(directory: str, below: list[str], caches: list[str], *, but: str = "") -> Sweep:
    ctimes_ns: list[int] = []
    count = _look(directory, below, caches, ctimes_ns, but=but)
    return Sweep(count, sum(ctimes_ns), max(ctimes_ns, default=0))


def _sum_below(pending: list[str], caches: list[str], *, but: frozenset[str] = frozenset()) -> Sweep:
    """Sweep what lies in and below `pending`; directories in `but` are left out."""
    count = 0
    ctimes_ns: list[int] = []
    while pending:
        directory = pending.pop()
        if directory not in but:
            count += _look(directory, pending, caches, ctimes_ns)
    return Sweep(count, sum(ctimes_ns), max(ctimes_ns, default=0))


def sweep(sites: Iterable[str], *, split: bool = False) -> Sweep:
    """Return the sums over the files below `sites`; `__pycache__` is left out.

    With `split` two processes share the work: for a process without other threads only, which it does not ask. Raises
    OSError where a directory cannot be read.
    """
    directories: list[str] = []
    found = _NOTHING
    for site in sites:
        found += _sum_one(site, directories, [])
    return found + (_sum_in_two(directories) if split else _sum_below(directories, []))


def _sum_cache(path: str) -> Sweep:
    """Return the sweep of a `__pycache__`, which may be a link."""
    if os.path.islink(path):
        ctime_ns = os.lstat(path).st_ctime_ns
        return Sweep(1, ctime_ns, ctime_ns)
    inner: list[str] = []
    return Sweep(1, 0) + _sum_below([path], inner) + sum(map(_sum_cache, inner), start=_NOTHING)


def sweep_environment(env_dir: str, sites: Iterable[str], *, marker: str) -> tuple[Sweep, Sweep]:
    """Return what `sweep` returns of the sites, and the sums over all else of an environment: bytecode too.

    The file `marker` of it, which notes its uses, is left out. Raises OSError where a directory cannot be read.
    """
    caches: list[str] = []
    own = frozenset(sites)
    installed = _sum_below([*own], caches)
    pending: list[str] = []
    rest = _sum_one(env_dir, pending, caches, but=marker) + _sum_below(pending, caches, but=own)
    return installed, rest + sum(map(_sum_cache, caches), start=_NOTHING)


def _write(found: Sweep) -> str:
    return f"{found.count} {found.ctimes_ns} {found.newest_ns}"


def _read(text: str) -> Sweep:
    return Sweep(*map(int, text.split()))


def _start_child(deed: Callable[[], str]) -> tuple[int, int]:
    """Start a child that does a deed, and return its process id and a descriptor from which the answer is read.

    Nobody who reads our output waits for it, and where we are gone it ends soon.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            alarm(_LONGEST_S)
            os.write(writing, deed().encode())
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def _hear_child(child: int, reading: int) -> str:
    """Return what a child answers, nothing where its deed has failed."""
    try:
        return os.read(reading, 1024).decode()
    finally:
        os.close(reading)
        os.waitpid(child, 0)


def _end_child(child: int, reading: int) -> None:
    """End a child that nobody needs."""
    os.close(reading)
    os.kill(child, SIGKILL)
    os.waitpid(child, 0)


def _sum_in_two(directories: list[str]) -> Sweep:
    """Sweep every other directory in a child: the kernel's work on files takes longer than starting one."""
    child, reading = _start_child(lambda: _write(_sum_below(directories[::2], [])))
    answer = ""
    try:
        found = _sum_below(directories[1::2], [])
    finally:
        answer = _hear_child(child, reading)
    return found + _read(answer) if answer else _sum_below(directories, [])


class SweepAhead:
    """The sweep of some sites, and of an environment where one is named, begun in another process before anybody asks.

    `marker` is what `sweep_environment` leaves out. For a process without other threads.

    What it finds holds for the moment it was begun: it is not taken where it is asked for much later.
    """

    __slots__ = ("_child", "_clock", "_env_dir", "_found", "_marker", "_since", "_sites")

    def __init__(
        self,
        sites: Iterable[str],
        *,
        env_dir: str | None = None,
        marker: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sites = tuple(sites)
        self._env_dir = env_dir
        self._marker = marker
        self._found: tuple[Sweep, ...] = ()
        self._clock = clock
        self._since = clock()
        self._child: tuple[int, int] | None = _start_child(self._sweep)

    def _sweep(self) -> str:
        if self._env_dir is None:
            return _write(sweep(self._sites))
        return "\n".join(map(_write, sweep_environment(self._env_dir, self._sites, marker=self._marker)))

    def _hear(self) -> tuple[Sweep, ...]:
        """Return what was found, nothing where it cannot be read or was so long ago; who asks in time may wait."""
        is_fresh = self._clock() - self._since < _FRESH_S
        if self._child:
            child, self._child = self._child, None
            if is_fresh:
                self._found = tuple(map(_read, _hear_child(*child).splitlines()))
                self._since = self._clock()
            else:
                _end_child(*child)
        return self._found if is_fresh else ()

    def find_sites(self, sites: Iterable[str]) -> Sweep | None:
        """Return what `sweep` returns of the sites, None where it is not known."""
        found = self._hear() if tuple(sites) == self._sites else ()
        return found[0] if found else None

    def find_environment(self, env_dir: str) -> tuple[Sweep, Sweep] | None:
        """Return what `sweep_environment` returns of an environment and the sites, None where it is not known."""
        found = self._hear() if env_dir == self._env_dir else ()
        return (found[0], found[1]) if len(found) > 1 else None
