"""Which environments and trees running processes use, by what /proc says of them (proc(5)).

A process uses one where its interpreter, a file it has mapped or open, its directory, a word of its command line or a
variable of its environment lies there; `argv[0]` and `VIRTUAL_ENV` are followed through links (`.venv`). Processes of
other users, and of other containers, cannot be seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from repro.environments.store import Store
from repro.errors import ReproError

_PROC = "/proc"
_ENTRY = rb"/(envs/[0-9a-f]{16}/(?:[0-9a-f]{8}|current)|trees/[0-9a-f]{64}|trash/[0-9a-f]{8})(?![0-9a-z])"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _readlink(path: str) -> bytes:
    try:
        return os.fsencode(os.readlink(path))
    except OSError:
        return b""


def _list_open(process: str) -> Iterator[bytes]:
    try:
        names = os.listdir(f"{process}/fd")
    except OSError:
        return
    for name in names:
        yield _readlink(f"{process}/fd/{name}")


def _resolve(place: bytes, cwd: bytes) -> bytes:
    """Return where a place leads, as the process that has it would find it."""
    try:
        return os.path.realpath(os.path.join(cwd, place))
    except (OSError, ValueError):
        return b""


def _list_words(process: str) -> Iterator[bytes]:
    """Yield every text in which a path of the store may stand."""
    cwd, command, environ = _readlink(f"{process}/cwd"), _read(f"{process}/cmdline"), _read(f"{process}/environ")
    yield from (cwd, _readlink(f"{process}/exe"), _read(f"{process}/maps"), command, environ)
    yield from _list_open(process)
    first = command.partition(b"\0")[0]
    if b"/" in first:  # its directory alone: the interpreter itself is a link to the base's
        yield _resolve(os.path.dirname(first), cwd)
    for variable in environ.split(b"\0"):
        if variable.startswith(b"VIRTUAL_ENV="):
            yield _resolve(variable.partition(b"=")[2], cwd)


def find_entries(text: bytes, rooms_dirs: tuple[str, ...]) -> set[str]:
    """Return the entries of which a text has a path: `envs/<key>/<nonce>`, `trees/<sha256>`, `trash/<nonce>`."""
    places = b"|".join(re.escape(os.fsencode(each)) for each in rooms_dirs)
    return {os.fsdecode(found.group(1)) for found in re.finditer(rb"(?:" + places + rb")" + _ENTRY, text)}


def find_busy(store: Store) -> frozenset[str]:
    """Return the paths of the entries that processes use, as above. Raises ReproError where there is no /proc."""
    try:
        processes = [f"{_PROC}/{name}" for name in os.listdir(_PROC) if name.isdigit()]
    except OSError as error:
        raise ReproError(f"which environments are in use cannot be told: there is no `{_PROC}`") from error
    rooms_dirs = tuple(dict.fromkeys((store.room(), os.path.realpath(store.room()))))
    found: set[str] = set()
    for process in processes:
        found |= find_entries(b"\0".join(_list_words(process)), rooms_dirs)
    return frozenset(store.room(*_follow(store, each).split("/")) for each in found)


def _follow(store: Store, entry: str) -> str:
    """Return the environment behind a `current` link."""
    if not entry.endswith("/current"):
        return entry
    key = entry.split("/")[1]
    try:
        return f"envs/{key}/{os.readlink(store.room('envs', key, 'current'))}"
    except OSError:
        return entry
