"""Look up the environment of a lock that was restored before: the hot path of `repro restore`.

Reads the lock's bytes, one file of `looks/`, one link and one marker, and stats the interpreter and every directory of
the environment. Imports nothing that this does not need; whatever is not exactly as expected is left to `restore`.
"""

from __future__ import annotations

import os
import time

from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, find_python_stamp, find_stamp, stamp_config
from repro.environments.roots import Root, keep_root, mark_used
from repro.files import find_changed_directories, is_of_this_boot, is_settled

try:
    from _blake2 import blake2b  # what hashlib.blake2b is, without the 3 ms that loading OpenSSL takes
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.environments.store import Store


class Environment:
    """A restored environment: `path`, its interpreter `python`, `key` in the store, `digest` of its lock.

    `reused` tells whether it was there already, `seconds` how long restoring took, `notes` what the user should know.
    """

    __slots__ = ("digest", "key", "notes", "path", "python", "python_version", "reused", "seconds")

    def __init__(
        self,
        *,
        path: str,
        key: str,
        digest: str,
        python_version: str,
        reused: bool,
        seconds: float,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.python = os.path.join(path, "bin", "python")
        self.key = key
        self.digest = digest
        self.python_version = python_version
        self.reused = reused
        self.seconds = seconds
        self.notes = notes

    def __repr__(self) -> str:
        return f"Environment(path={self.path!r}, key={self.key!r}, reused={self.reused})"

    def to_dict(self) -> dict[str, object]:
        """Return the environment for `--json`."""
        return {
            "path": self.path,
            "python": self.python,
            "python_version": self.python_version,
            "key": self.key,
            "digest": self.digest,
            "reused": self.reused,
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
        }


def name_look(lock_bytes: bytes, options: tuple[str, ...]) -> str:
    """Return the name under which the outcome for these bytes and options is remembered: a digest over both."""
    digest = blake2b("\0".join(options).encode() + b"\0\0", digest_size=32)
    digest.update(lock_bytes)
    return digest.hexdigest()


def stamp_bundle(path: str) -> bytes | None:
    """Return what tells a bundle from any other, and from itself after a change, without reading it.

    The ctime is the kernel's: no program can set it back.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, os.path.abspath(path))
    return " ".join(["bundle", *map(str, facts)]).encode("utf-8", "surrogateescape")


def is_intact(env_dir: str, ready: Ready) -> bool:
    """Tell whether interpreter, configuration and directories are as they were when an environment was marked ready."""
    if str(find_stamp(ready.interpreter.path)) != str(ready.interpreter) or not os.path.exists(f"{env_dir}/bin/python"):
        return False
    if stamp_config(env_dir) != ready.config:
        return False
    return not find_changed_directories(env_dir, ready.directories)


def _is_looked_at(env_dir: str, boot: str) -> bool:
    """Tell whether an environment was looked at in this boot; where nothing can be noted, one look is enough."""
    return is_of_this_boot(boot) or (is_settled(boot) and not os.access(f"{env_dir}/{READY}", os.W_OK))


def find_ready(store: Store, key: str) -> tuple[str, Ready] | None:
    """Return the directory and marker of the ready and intact environment of `key`, and note that it is used.

    One that was not looked at in this boot is left to `restore`: a power cut may have cut off its files and bytecode.
    """
    env_dir = store.find_current(key)
    ready = store.read_ready(env_dir) if env_dir else None
    if not (env_dir and ready and ready.key == key and _is_looked_at(env_dir, ready.boot)):
        return None
    return (env_dir, ready) if is_intact(env_dir, ready) and mark_used(env_dir) else None


def make_environment(
    store: Store, env_dir: str, ready: Ready, *, reused: bool, seconds: float, notes: tuple[str, ...] = ()
) -> Environment:
    """Return the environment that a marker describes."""
    return Environment(
        path=env_dir,
        key=ready.key,
        digest=ready.digest,
        python_version=ready.python_version,
        reused=reused,
        seconds=seconds,
        notes=notes,
    )


def name_options(*, python: str | None, allow_missing: bool, used: bool = False) -> tuple[str, ...] | None:
    """Return what else than a lock's bytes decides which environment it leads to; `python` is an absolute path.

    None where that cannot be told without running it.
    """
    flags = ("allow-missing" if allow_missing else "", *(["used"] if used else []))
    if python is None:
        return ("", *flags)
    stamp = find_python_stamp(python)
    return (f"{python} {stamp}", *flags) if stamp else None


def find_looked_up(store: Store, lock_bytes: bytes, options: tuple[str, ...] | None) -> str | None:
    """Return the directory that the same bytes and options led to before; whether it is ready is not looked at."""
    key = store.find_look(name_look(lock_bytes, options)) if options else None
    return store.find_current(key) if key else None


def look_up(store: Store, lock_bytes: bytes, options: tuple[str, ...] | None, *, lock: str) -> Environment | None:
    """Return the ready environment that the same bytes (of the file `lock`) and options led to before."""
    if options is None:
        return None
    started = time.perf_counter()
    look = name_look(lock_bytes, options)
    key = store.find_look(look)
    found = find_ready(store, key) if key else None
    if not key or not found:
        return None
    keep_root(store, Root(key=key, lock=os.path.abspath(lock), look=look, options=options))
    return make_environment(store, *found, reused=True, seconds=time.perf_counter() - started)
