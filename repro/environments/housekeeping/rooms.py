"""The names that the store's layout lists: nothing else below the store is counted, moved or removed.

A room that is a symbolic link is not entered, and neither is any link in it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from repro.environments.store import MARKER, Store
from repro.errors import ReproError
from repro.values import frozen

_SHA256 = r"[0-9a-f]{64}"
_KEY = r"[0-9a-f]{16}"
_NONCE = r"[0-9a-f]{8}"
_LOCK = rf"(?:(?:tree-|into-)?{_KEY}|stage-{_NONCE})\.lock"


@frozen
class Room:
    """A room of the layout: what its entries are called at each depth, and whether the last are directories.

    `names` is empty for the caches of installers, where everything belongs to the installer. `content` is what
    everything in an entry is called; an entry with something else in it is not ours.
    """

    name: str
    names: tuple[str, ...] = ()
    has_directories: bool = False
    content: str | None = None
    meaning: str = ""


ROOMS = (
    Room(name="trees", names=(_SHA256,), has_directories=True, meaning="unpacked wheels"),
    Room(name="wheels", names=(_SHA256,), has_directories=True, content=r".*\.whl", meaning="wheels"),
    Room(name="envs", names=(_KEY, _NONCE), has_directories=True, meaning="environments"),
    Room(name="pycache", names=(_KEY,), has_directories=True, meaning="bytecode that belongs to no tree alone"),
    Room(name="looks", names=(_SHA256,), meaning="which environment a lock led to"),
    Room(name="locks", names=(_SHA256,), meaning="what the loose files of projects were locked to"),
    Room(name="roots", names=(_SHA256,), meaning="which project uses which environment"),
    Room(name="built", names=(_SHA256,), meaning="which wheel was built of what"),
    Room(name="fetched", names=(_SHA256,), meaning="where a wheel was fetched"),
    Room(name="interpreters", names=(_SHA256,), meaning="what interpreters said of themselves"),
    Room(name="sites", names=(_SHA256,), meaning="where distributions lie"),
    Room(name="takes", names=(_SHA256,), meaning="what was said of snapshots"),
    Room(name="records", names=(r"[0-9a-f]{2}", _SHA256), meaning="what RECORD files come from"),
    Room(name="checked", names=(_SHA256,), meaning="what was compared with RECORD"),
    Room(name="repositories", names=(_SHA256,), has_directories=True, meaning="what was fetched of repositories"),
    Room(name="checkouts", names=(_KEY, _NONCE), has_directories=True, meaning="files of projects"),
    Room(name="archives", names=(_SHA256,), meaning="zips of projects"),
    Room(name="seen", names=(_SHA256,), meaning="what branches, tags and URLs of projects led to"),
    Room(name="models", names=(_SHA256,), has_directories=True, meaning="models that were downloaded"),
    Room(name="tmp", names=(_NONCE,), has_directories=True, meaning="on its way in"),
    Room(name="trash", names=(_NONCE,), has_directories=True, meaning="on its way out"),
    Room(name="flocks", names=(_LOCK,), meaning="locks of keys, trees, places and processes"),
    *(Room(name=name, meaning="an installer's own cache") for name in ("uv", "pip", "pip-tools", "virtualenv")),
)  # fmt: skip
ROOM_OF = {room.name: room for room in ROOMS}


def is_store(store: Store) -> bool:
    """Tell whether our marker stands in the store's directory."""
    return os.path.isfile(os.path.join(store.root, MARKER))


def require_store(store: Store) -> None:
    """Refuse a directory that is no store of ours, or that others could have filled. Raises ReproError."""
    store.check()
    if os.path.isdir(store.root) and not is_store(store):
        raise ReproError(
            f"`{store.root}` is no cache of repro: it has no `{MARKER}`",
            hint="name the directory that `repro restore` was given, with `--cache DIR` or MLFLOW_SNAPSHOT_CACHE",
        )


def is_plain_directory(path: str) -> bool:
    """Tell whether there is a directory at a path, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _list_names(directory: str, pattern: str, *, directories: bool) -> list[str]:
    if not is_plain_directory(directory):
        return []
    try:
        with os.scandir(directory) as entries:
            return sorted(
                entry.name
                for entry in entries
                if re.fullmatch(pattern, entry.name)
                and (entry.is_dir if directories else entry.is_file)(follow_symlinks=False)
            )
    except OSError:
        return []


def _has_only(directory: str, pattern: str) -> bool:
    try:
        return all(re.fullmatch(pattern, name) for name in os.listdir(directory))
    except OSError:
        return False


def list_keys(store: Store) -> list[str]:
    """Return the keys there are directories of."""
    return _list_names(store.room("envs"), _KEY, directories=True)


def list_entries(store: Store, room: Room) -> Iterator[str]:
    """Yield the path of each entry of a room, sorted; of an installer's cache the room itself."""
    top = store.room(room.name)
    if not room.names:
        if is_plain_directory(top):
            yield top
        return
    parents = [top]
    for pattern in room.names[:-1]:
        parents = [f"{each}/{name}" for each in parents for name in _list_names(each, pattern, directories=True)]
    for parent in parents:
        for name in _list_names(parent, room.names[-1], directories=room.has_directories):
            if room.content is None or _has_only(f"{parent}/{name}", room.content):
                yield f"{parent}/{name}"


def list_torn_notes(store: Store) -> Iterator[str]:
    """Yield what writers of notes that were killed have left: see files.write_atomically."""
    for room in ROOMS:
        if room.names and not room.has_directories:
            for name in _list_names(store.room(room.name), rf"\.{_NONCE}\.tmp", directories=False):
                yield store.room(room.name, name)
