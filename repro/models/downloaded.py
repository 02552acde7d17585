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
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from repro.environments.store import Store, UnwritableStoreError
from repro.errors import ModelError
from repro.files import hold_shared, remove_tree
from repro.formats.lockfile import FILE_NAME as LOCK_NAME
from repro.formats.mlmodel import FILE_NAME
from repro.tracking.entities import Artifact
from repro.tracking.model_files import fetch_served, list_served, name_served, read_served
from repro.tracking.model_store import ServedFiles

Listed = tuple[Artifact, ...]

_TELLING = (FILE_NAME, LOCK_NAME, "requirements.txt", "python_env.yaml", "conda.yaml")
_MOST_TELLING_BYTES = 4 << 20
_LARGE_BYTES = 10_000_000


def _compute_key(files: ServedFiles, listed: Listed) -> str:
    """Return what names the files as they are now."""
    digest = hashlib.sha256(f"{files.name}\0".encode())
    for each in listed:
        name = name_served(files, each)
        digest.update(f"{name}\0{each.size_bytes}\0".encode())
        if name in _TELLING and (each.size_bytes or 0) <= _MOST_TELLING_BYTES:
            digest.update(hashlib.sha256(read_served(files, each.path)).digest())
    return digest.hexdigest()


def _is_whole(files: ServedFiles, listed: Listed, place: Path) -> bool:
    try:
        return all(each.size_bytes in (None, os.stat(place / name_served(files, each)).st_size) for each in listed)
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


def _make_room() -> Path:
    """Return a new directory that is there until this process ends."""
    directory = tempfile.mkdtemp(prefix="repro-model-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _publish(directory: Path, files: ServedFiles, listed: Listed, place: Path) -> None:
    """Move what was downloaded into place; where another process was faster, its files are as good. Raises OSError."""
    if place.is_dir() and not _is_whole(files, listed, place):
        remove_tree(place)
    try:
        os.rename(directory, place)
    except OSError:
        if not place.is_dir():
            raise


def _keep(store: Store, files: ServedFiles, listed: Listed, place: Path, name: str) -> None:
    with store.stage() as stage:
        _check_space(stage, name, listed)
        directory = Path(stage, "model")
        directory.mkdir()
        fetch_served(files, listed, directory)
        try:
            _publish(directory, files, listed, place)
        except OSError as error:
            raise ModelError(f"`{place}` cannot be written ({error.strerror})") from error


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
    if store is not None:
        with suppress(UnwritableStoreError):
            return _bring_into(store, files, listed, name, report)
    _say_size(name, listed, report)
    room = _make_room()
    _check_space(str(room), name, listed)
    fetch_served(files, listed, room)
    return room


def _bring_into(store: Store, files: ServedFiles, listed: Listed, name: str, report: Callable[[str], None]) -> Path:
    key = _compute_key(files, listed)
    place = Path(store.room("models", key))
    if store.is_writable() or not _is_whole(files, listed, place):
        store.prepare()
        _hold_for_this_process(store.room("flocks", f"model-{key[:16]}.lock"))
    if not _is_whole(files, listed, place):
        _say_size(name, listed, report)
        _keep(store, files, listed, place, name)
    elif store.is_writable():
        os.utime(place)
    return place
