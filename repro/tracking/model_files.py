"""The files of a model that a server hands out: listed, and brought whole."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from repro.errors import TrackingError
from repro.tracking.entities import Artifact
from repro.tracking.model_store import Files, HeldFiles, ServedFiles
from repro.tracking.rest.artifacts import download_file, walk_files

_MOST_FILES = 100_000


def _walk(files: ServedFiles) -> Iterator[Artifact]:
    if not files.path:
        yield from walk_files(files.place, "")
        return
    beside = files.place.list_directory(posixpath.dirname(files.path))
    found = next((each for each in beside if each.path == files.path), None)
    if found and not found.is_dir:
        yield found
    elif found:
        yield from walk_files(files.place, files.path)


def list_served(files: ServedFiles) -> tuple[Artifact, ...]:
    """Return every file that is handed out, by path. Raises TrackingError where there is no end of them."""
    found: list[Artifact] = []
    for each in _walk(files):
        found.append(each)
        if len(found) > _MOST_FILES:
            raise TrackingError(f"`{files.name}` has more than {_MOST_FILES} files")
    return tuple(sorted(found, key=lambda each: each.path))


def read_served(files: ServedFiles, path: str) -> bytes:
    """Return the bytes of one file. Raises TrackingError."""
    import io

    target = io.BytesIO()
    files.place.download(path, target)
    return target.getvalue()


def name_served(files: ServedFiles, artifact: Artifact) -> str:
    """Return the path of a file below the directory that is handed out; of a single file its name."""
    if artifact.path == files.path:
        return posixpath.basename(files.path)
    return artifact.path[len(files.path) :].lstrip("/")


def fetch_served(files: ServedFiles, listed: tuple[Artifact, ...], target_dir: Path) -> None:
    """Download what was listed into a directory.

    Raises TrackingError, also for a file that has another size than it was listed with.
    """
    for each in listed:
        path = download_file(files.place, each.path, target_dir, name_served(files, each))
        size_bytes = os.stat(path).st_size
        if each.size_bytes is not None and size_bytes != each.size_bytes:
            raise TrackingError(
                f"`{each.path}` has {size_bytes} bytes, and the server lists {each.size_bytes}",
                hint="it was changed while it was downloaded: try again",
            )


def bring_files(files: Files, target_dir: Path | None) -> Path:
    """Return where files are on this machine: where they lie, or below `target_dir` (else a new directory).

    Raises TrackingError.
    """
    import tempfile

    from repro.tracking.artifact_files import ArtifactFiles

    if isinstance(files, HeldFiles):
        if not files.path.exists():
            raise TrackingError(f"there is no file `{files.path}`")
        if target_dir is None:
            return files.path
        return ArtifactFiles(files.path.parent).copy_to(files.path.name, target_dir)
    listed = list_served(files)
    target = (target_dir or Path(tempfile.mkdtemp(prefix="repro-artifacts-"))) / files.path
    is_single = len(listed) == 1 and listed[0].path == files.path
    fetch_served(files, listed, target.parent if is_single else target)
    return target
