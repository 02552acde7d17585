"""Keep the models that servers hand out: each is downloaded once, and again when the server has another.

    <store>/models/<sha256>/...             the files, moved into place when all of them are there
    <store>/flocks/model-<sha256:16>.lock   held shared by the processes that use them

Nothing on a server is bound to stay: a run's artifact may be logged again, and the requirements of a logged model be
changed. So each time the server is asked what files there are, and for those that say what the model is (its MLmodel
and its environment, a few KiB); the key is a digest of all that. Where the store cannot be written, the files are kept
as long as this process.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from repro.environments.store import Store, UnwritableStoreError
from repro.errors import ModelError, TrackingError
from repro.files import hold_shared, make_lasting_dir, remove_tree, sha256_file
from repro.formats.lockfile import FILE_NAME as LOCK_NAME
from repro.formats.mlmodel import FILE_NAME
from repro.tracking.entities import Artifact
from repro.tracking.model_files import fetch_served, list_served, name_served, read_served
from repro.tracking.model_store import ServedFiles
from repro.values import frozen

Listed = tuple[Artifact, ...]

_TELLING = (FILE_NAME, LOCK_NAME, "requirements.txt", "python_env.yaml", "conda.yaml")
_MOST_TELLING_BYTES = 4 << 20
_LARGE_BYTES = 10_000_000


@frozen
class _Wanted:
    """A model as a server has it now; `telling` are the sha256 of the files that say what it is."""

    name: str
    files: ServedFiles
    listed: Listed
    telling: Mapping[str, str]

    @property
    def key(self) -> str:
        """What names the files as they are now."""
        digest = hashlib.sha256(f"{self.files.name}\0".encode())
        for each in self.listed:
            name = name_served(self.files, each)
            digest.update(f"{name}\0{each.size_bytes}\0{self.telling.get(name, '')}\0".encode())
        return digest.hexdigest()


def _ask(name: str, files: ServedFiles, listed: Listed) -> _Wanted:
    telling = {}
    for each in listed:
        file = name_served(files, each)
        if file in _TELLING and (each.size_bytes or 0) <= _MOST_TELLING_BYTES:
            telling[file] = hashlib.sha256(read_served(files, each.path)).hexdigest()
    return _Wanted(name=name, files=files, listed=listed, telling=telling)


def _is_whole(wanted: _Wanted, place: Path) -> bool:
    try:
        return all(
            each.size_bytes in (None, os.stat(place / name_served(wanted.files, each)).st_size)
            for each in wanted.listed
        )
    except OSError:
        return False


def _say_size(name: str, listed: Listed, report: Callable[[str], None]) -> None:
    size_bytes = sum(each.size_bytes or 0 for each in listed)
    if size_bytes >= _LARGE_BYTES:
        report(f"downloading `{name}` ({len(listed)} files, {size_bytes / 1e6:.0f} MB)")


def _check_space(directory: str, name: str, listed: Listed) -> None:
    needed, free = sum(each.size_bytes or 0 for each in listed), shutil.disk_usage(directory).free
    if needed > free:
        raise ModelError(
            f"`{name}` has {needed / 1e6:.0f} MB, and `{directory}` has room for {free / 1e6:.0f} MB",
            hint="`repro cache prune` makes room, `--cache DIR` names another place",
        )


@cache
def _hold_for_this_process(lock: str) -> None:
    """Let no prune remove what this process works with."""
    stack = ExitStack()
    stack.enter_context(hold_shared(lock))
    atexit.register(stack.close)


def _fetch(wanted: _Wanted, directory: Path) -> None:
    """Download a model. Raises TrackingError, also where it has become another meanwhile."""
    _check_space(str(directory), wanted.name, wanted.listed)
    fetch_served(wanted.files, wanted.listed, directory)
    if any(sha256_file(directory / name) != sha256 for name, sha256 in wanted.telling.items()):
        raise TrackingError("the model was changed while it was downloaded", hint="try again")


def _publish(directory: Path, wanted: _Wanted, place: Path) -> None:
    """Move what was downloaded into place; where another process was faster, its files are as good. Raises OSError."""
    if place.is_dir() and not _is_whole(wanted, place):
        remove_tree(place)
    try:
        os.rename(directory, place)
    except OSError:
        if not place.is_dir():
            raise


def _keep(store: Store, wanted: _Wanted, place: Path) -> None:
    """Download a model into the store. Raises ModelError where there is no room for it."""
    try:
        with store.stage() as stage:
            directory = Path(stage, "model")
            directory.mkdir()
            _fetch(wanted, directory)
            _publish(directory, wanted, place)
    except OSError as error:
        raise ModelError(f"`{place}` cannot be written ({error.strerror})") from error


def _bring_into(store: Store, wanted: _Wanted, report: Callable[[str], None]) -> Path:
    """Return where a model is in the store. Raises UnwritableStoreError where it is not there and cannot be kept."""
    store.check()
    place = Path(store.room("models", wanted.key))
    if _is_whole(wanted, place) and not store.is_writable():
        return place
    store.prepare()
    if not store.is_writable():
        raise UnwritableStoreError(f"the cache `{store.root}` cannot be written")
    _hold_for_this_process(store.room("flocks", f"model-{wanted.key[:16]}.lock"))
    if not _is_whole(wanted, place):
        _say_size(wanted.name, wanted.listed, report)
        _keep(store, wanted, place)
    os.utime(place)
    return place


def bring_model(
    files: ServedFiles, *, name: str, store: Store | None, report: Callable[[str], None] = lambda sentence: None
) -> Path:
    """Return the directory of a model that a server hands out, downloaded where this machine has not got it yet.

    Raises ModelError where it is none, RestoreError for a store that is not ours to trust, and TrackingError.
    """
    listed = list_served(files)
    names = [name_served(files, each) for each in listed]
    if FILE_NAME not in names or listed[0].path == files.path:
        raise ModelError(
            f"`{name}` is no model: it has no `{FILE_NAME}`" + ("" if names else ", nor any other file"),
            hint=f"it has {', '.join(f'`{each}`' for each in names[:5])}" if names else None,
        )
    wanted = _ask(name, files, listed)
    if store is not None:
        with suppress(UnwritableStoreError):
            return _bring_into(store, wanted, report)
    _say_size(name, listed, report)
    room = Path(make_lasting_dir("repro-model-"))
    _fetch(wanted, room)
    return room
