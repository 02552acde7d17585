"""The store: where restored environments lie, shared by all projects of a user and safe to delete.

    <cache>/repro/                   or <cache> itself, where it is named `repro` or carries our marker
        repro-store.json             the marker: layout version
        CACHEDIR.TAG  README.txt
        v1/
            envs/<key>/<nonce>/      one environment; `repro-environment` in it is written last: it is ready
            envs/<key>/current       symbolic link to the nonce in use, replaced in one step
            looks/<digest>           the key that a lock file's bytes led to
            locks/<digest>           the lock that a project's loose files led to: see loose.py
            roots/<digest>           which lock file leads to which key: see roots.py
            trees/<sha256>/          a wheel unpacked once, linked into environments: see trees.py
            wheels/<sha256>/<file>   wheels, as they were fetched, built or packed again
            built/                   the sha256 of the wheel that was built of an sdist or a commit
            fetched/<sha256>         where a wheel was fetched from, so that it may go: it can be fetched again
            records/  checked/       see repro/snapshots/memory.py
            sites/  takes/           see retake.py
            interpreters/            what each interpreter said of itself
            pycache/<key>/           bytecode of directories that belong to no tree alone
            flocks/<key>.lock        held while <key> is built
            flocks/store.lock        held shared by all builds, and by a prune alone
            repositories/<sha256>/   what was fetched of a git repository, by its URL: see projects/repository.py
            checkouts/<key>/<nonce>/ the files of a project, lent to one run at a time: see projects/pool.py
            archives/<sha256>        zips of projects that were fetched
            seen/<digest>            the commit that a branch or a tag, the zip that a URL led to
            models/<sha256>/         the files of a model that were downloaded: see models/downloaded.py
            uv/  pip/  pip-tools/  virtualenv/   the installers' own caches: accelerators, never trusted
            tmp/<nonce>/             what one process has on its way in, as long as it holds flocks/stage-<nonce>.lock
            trash/                   what is on its way out: moved here in one step, then deleted

A look-up reads one file of `looks/`, the link and the marker; nothing else decides whether an environment is ready.
"""

from __future__ import annotations

import os
import stat

from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, parse_ready
from repro.errors import RestoreError, UsageError
from repro.files import (
    contextmanager,
    hold_free_lock,
    hold_lock,
    make_directory,
    new_nonce,
    remove_tree,
    unlink,
    write_atomically,
)
from repro.settings import expand_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from repro.environments.trees import Trees
    from repro.snapshots.wheelhouse import Wheelhouse

MARKER = "repro-store.json"
CHECKOUT = "repro-checkout"
"""The file that is written last into a checkout."""
LAYOUT_VERSION = 1
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of repro: safe to delete.\n"
_ROOMS = (
    "envs", "looks", "locks", "roots", "trees", "wheels", "built", "fetched", "interpreters", "pycache", "flocks",
    "uv", "pip", "virtualenv", "repositories", "checkouts", "archives", "seen",
    "models", "tmp", "trash",
)  # fmt: skip


class UnwritableStoreError(RestoreError):
    """Nothing can be kept in the store; what is in it can still be used."""


def locate_store(cache_dir: str) -> str:
    """Return the store's directory for the cache directory a user named, which may hold other things.

    Raises UsageError for one that no program below it could be named by: PATH is split at colons.
    """
    path = expand_path(cache_dir)
    if any(char in path for char in (os.pathsep, "\n", "\t")):
        raise UsageError(
            f"the cache `{path}` has a `:`, a tab or a line break in its path", hint="name another with `--cache DIR`"
        )
    if os.path.basename(path) == "repro" or os.path.isfile(os.path.join(path, MARKER)):
        return path
    return os.path.join(path, "repro")


def _check_trust(root: str) -> None:
    """Refuse a directory that somebody else could have filled."""
    found = os.stat(root)
    if found.st_uid not in (os.getuid(), 0):
        raise RestoreError(
            f"the cache `{root}` belongs to another user (uid {found.st_uid})",
            hint="name one of your own with `--cache DIR` or MLFLOW_SNAPSHOT_CACHE",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RestoreError(f"others can write into the cache `{root}`", hint=f"chmod go-w {root}")


class Store:
    """The paths of a store; nothing is written before `prepare`, and `announce` is told when that makes it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.announce: Callable[[str], None] = lambda sentence: None
        self._rooms = os.path.join(root, f"v{LAYOUT_VERSION}")

    def room(self, *names: str) -> str:
        """Return the path of a room or of something in it."""
        return os.path.join(self._rooms, *names)

    @property
    def gate(self) -> str:
        """The lock that builds hold together and a prune alone: what a build has found stays until it ends."""
        return self.room("flocks", "store.lock")

    def check(self) -> None:
        """Refuse a store that is not ours to trust; one that does not exist is fine. Raises RestoreError."""
        if os.path.isdir(self.root):
            _check_trust(self.root)

    def prepare(self) -> None:
        """Make the rooms. Raises UnwritableStoreError, and RestoreError where the cache cannot be trusted."""
        try:
            make_directory(self.root)
            _check_trust(self.root)
            for room in _ROOMS:
                make_directory(self.room(room))
            is_new = not os.path.exists(os.path.join(self.root, MARKER))
            marker = f'{{"layout": {LAYOUT_VERSION}}}\n'
            for name, text in ((MARKER, marker), ("CACHEDIR.TAG", _TAG), ("README.txt", __doc__ or "")):
                path = os.path.join(self.root, name)
                if not os.path.exists(path):
                    write_atomically(path, text)
        except OSError as error:
            raise UnwritableStoreError(
                f"the cache `{self.root}` cannot be written ({error.strerror})",
                hint="name another with `--cache DIR` or MLFLOW_SNAPSHOT_CACHE",
            ) from error
        if is_new:
            self.announce(f"the cache is made in `{self.root}`; `repro cache info` says what it holds")

    def is_writable(self) -> bool:
        """Tell whether locks can be taken: a store that is read-only serves what it has."""
        return os.access(self.room("flocks"), os.W_OK)

    @contextmanager
    def stage(self) -> Iterator[str]:
        """Have a directory below `tmp/` for the block; that of a process that died is told by its free lock."""
        self.prepare()
        nonce = new_nonce()
        directory, lock = self.room("tmp", nonce), self.room("flocks", f"stage-{nonce}.lock")
        with hold_lock(lock):
            make_directory(directory)
            try:
                yield directory
            finally:
                remove_tree(directory)
                unlink(lock)

    def remove_dead_stages(self) -> None:
        """Remove what processes that were killed have left in `tmp/`, and their locks."""
        locks = (name for name in os.listdir(self.room("flocks")) if name.startswith("stage-"))
        for name in {*os.listdir(self.room("tmp")), *(name[len("stage-") : -len(".lock")] for name in locks)}:
            if len(name) != 8 or name.strip("0123456789abcdef"):
                continue  # not ours
            lock = self.room("flocks", f"stage-{name}.lock")
            with hold_free_lock(lock) as is_free:
                if is_free:
                    remove_tree(self.room("tmp", name))
                    unlink(lock)

    def remove_leftovers(self, key: str) -> None:
        """Remove what restores of `key` that were killed have left; the caller holds the key's lock."""
        self.remove_dead_stages()
        with os.scandir(self.room("envs", key)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and self.read_ready(entry.path) is None:
                    remove_tree(entry.path)
                elif entry.name.endswith(".tmp"):
                    os.unlink(entry.path)  # a pointer that was not put into its place

    def open_wheelhouse(self) -> Wheelhouse:
        """Return the kept wheels."""
        from repro.snapshots.wheelhouse import Wheelhouse

        return Wheelhouse(self.room("wheels"), stage=self.stage)

    def open_trees(self) -> Trees:
        """Return the unpacked wheels."""
        from pathlib import Path

        from repro.environments.trees import Trees

        return Trees(root=Path(self.room("trees")), stage=self.stage, flocks_dir=Path(self.room("flocks")))

    def has_wheel(self, sha256: str) -> bool:
        """Tell whether the wheel with a sha256 is here, packed or unpacked."""
        return any(os.path.isdir(self.room(room, sha256)) for room in ("wheels", "trees"))

    def find_current(self, key: str) -> str | None:
        """Return the directory that the pointer of `key` names."""
        try:
            return self.room("envs", key, os.readlink(self.room("envs", key, "current")))
        except OSError:
            return None

    def read_ready(self, env_dir: str) -> Ready | None:
        """Return the marker of an environment, None where it is not ready."""
        text = _read(os.path.join(env_dir, READY))
        try:
            return parse_ready(text) if text else None
        except ValueError:
            return None

    def list_environments(self, key: str) -> list[str]:
        """Return the directories of the environments of `key`, published or not."""
        with os.scandir(self.room("envs", key)) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))

    def find_look(self, look: str) -> str | None:
        """Return the key that an earlier restore of the same bytes led to."""
        key = _read(self.room("looks", look))
        return key if key and key.isalnum() else None  # a power cut may leave zeros

    def keep_look(self, look: str, key: str) -> None:
        """Remember the key that a lock's bytes led to; a store that cannot be written only costs time."""
        try:
            write_atomically(self.room("looks", look), key, durable=False)
        except OSError:
            return


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None
