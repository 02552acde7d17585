"""The digests of a model's files: noted in its MLmodel when it is saved, and compared when it is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from repro.files import sha256_file
from repro.formats.mlmodel import FILE_NAME
from repro.values import frozen


@frozen
class Altered:
    """The files of a model that are not as they were saved, by their paths in its directory."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing)


def _iterate_files(directory: Path) -> Iterator[str]:
    for place, _, names in os.walk(directory):
        for name in names:
            yield Path(place, name).relative_to(directory).as_posix()


def compute_digests(directory: Path) -> dict[str, str]:
    """Return the sha256 (`sha256:...`) of each file below a directory but the MLmodel itself, by its path in it."""
    paths = sorted(path for path in _iterate_files(directory) if path != FILE_NAME)
    return {path: f"sha256:{sha256_file(directory / path)}" for path in paths}


def _find_digest(directory: Path, path: str) -> str | None:
    """Return the digest of a regular file, None where there is none; no path leads out of the directory."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        return None
    try:
        file = (directory / path).resolve(strict=True)
        return f"sha256:{sha256_file(file)}" if file.is_file() and file.is_relative_to(directory.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # a name with a zero byte, a ring of links
        return None


def find_altered(directory: Path, digests: Mapping[str, str]) -> Altered:
    """Return which files of a model are not as `OwnPart.files` says; a link that leads out of it counts as missing."""
    found = {path: _find_digest(directory, path) for path in digests}
    return Altered(
        changed=tuple(sorted(path for path, digest in found.items() if digest and digest != digests[path])),
        missing=tuple(sorted(path for path, digest in found.items() if digest is None)),
    )
