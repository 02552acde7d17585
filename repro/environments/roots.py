"""Roots: which projects use an environment, noted once for each lock file and each state of it.

    <store>/roots/<digest of the lock file's path and its look>

    repro-root 1
    key <16 hex digits>
    look <64 hex digits>                 see lookup.name_look
    lock <absolute path of the lock file>
    option <what else decides where it leads>
    ...

A link to an environment (`restore --link`) has a root too: its path stands for the lock's, and its look is empty.

A root counts while its lock file has the bytes that the look was taken of, and a link's while it leads there. Imports
only what a look-up has anyway.
"""

from __future__ import annotations

import os

from repro.environments.ready import FILE_NAME as READY
from repro.files import make_directory, write_atomically

try:
    from _blake2 import blake2b  # what hashlib.blake2b is, without the 3 ms that loading OpenSSL takes
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.store import Store

_TITLE = "repro-root 1"


class Root:
    """A lock file at `lock` that led to the environment `key` under the name `look`, with `options`."""

    __slots__ = ("key", "lock", "look", "options")

    def __init__(self, *, key: str, lock: str, look: str, options: tuple[str, ...]) -> None:
        self.key = key
        self.lock = lock
        self.look = look
        self.options = options


def format_root(root: Root) -> str:
    """Return a root's text. Raises ValueError where a path has a line break."""
    lines = [_TITLE, f"key {root.key}", f"look {root.look}", f"lock {root.lock}"]
    lines += [f"option {option}" for option in root.options]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("a path with a line break")
    return "\n".join(lines) + "\n"


def parse_root(text: str) -> Root:
    """Return what a root's text says. Raises ValueError where it is none, or cut off."""
    if not text.startswith(f"{_TITLE}\n") or not text.endswith("\n"):
        raise ValueError("no root, or one that is cut off")
    _, key, look, lock, *options = text[:-1].split("\n")
    return Root(
        key=key.removeprefix("key "),
        look=look.removeprefix("look "),
        lock=lock.removeprefix("lock "),
        options=tuple(option.removeprefix("option ") for option in options),
    )


def _name_root(lock: str, look: str) -> str:
    return blake2b(os.fsencode(lock) + b"\0" + look.encode(), digest_size=32).hexdigest()


def keep_root(store: Store, root: Root) -> None:
    """Note that a lock file leads to an environment, unless that is noted; what cannot be written is no loss."""
    path = store.room("roots", _name_root(root.lock, root.look))
    if os.path.exists(path):
        return
    try:
        make_directory(os.path.dirname(path))
        write_atomically(path, os.fsencode(format_root(root)), durable=False)
    except (OSError, ValueError):
        return


def keep_link(store: Store, link: str, key: str) -> None:
    """Note that a symbolic link leads to an environment; what cannot be written is no loss."""
    root = Root(key=key, lock=link, look="", options=())
    try:
        write_atomically(store.room("roots", _name_root(link, "")), os.fsencode(format_root(root)), durable=False)
    except (OSError, ValueError):
        return


def mark_used(env_dir: str) -> bool:
    """Note on an environment's marker that it is used now; False where it is gone, as after a prune at this moment."""
    try:
        os.utime(f"{env_dir}/{READY}")
    except FileNotFoundError:
        return False
    except OSError:  # not ours to write, and usable all the same
        return True
    return True
