"""Artifacts in a directory: kept, listed and brought back, and never a path that leads out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from repro.errors import TrackingError, TrackingNotFoundError
from repro.files import copy_atomically, write_atomically
from repro.formats.run_meta import HALF_WRITTEN
from repro.tracking.entities import Artifact
from repro.tracking.run_files import explaining


class ArtifactFiles:
    """The artifacts below one directory, which need not be there yet.

    Every deed raises TrackingError for a path that leads out of it, TrackingNotFoundError for what is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = Path(os.path.realpath(root))

    def locate(self, path: str) -> Path:
        """Return where an artifact's path leads, links followed."""
        root = self._real_root
        if path not in ("", ".", "..") and path.isprintable() and "/" not in path and not os.path.islink(root / path):
            return root / path  # as most are named; the root leads over no link
        try:
            place = Path(os.path.realpath(root / path))
        except (OSError, ValueError) as error:  # a NUL
            raise TrackingError(f"the artifact path `{path!r}` cannot be used ({error})") from error
        if os.path.islink(place):
            raise TrackingError(f"the artifact path `{path}` is a link that leads to itself")
        if not place.is_relative_to(root):
            raise TrackingError(f"the artifact path `{path}` leads out of the run")
        return place

    def _describe(self, entry: os.DirEntry[str], below: str) -> Artifact | None:
        """Return what an entry is; None for a link that leads nowhere, out of the run, or to a directory of it."""
        path = f"{below}/{entry.name}" if below else entry.name
        try:
            if entry.is_symlink() and (entry.is_dir() or not self._holds(entry.path)):
                return None
            is_dir, size_bytes = entry.is_dir(), entry.stat().st_size
        except OSError:
            return None
        return Artifact(path=path, is_dir=is_dir, size_bytes=None if is_dir else size_bytes)

    def _holds(self, path: str) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._real_root)

    def list_directory(self, path: str = "") -> list[Artifact]:
        """Return what lies directly in a directory, sorted; nothing where there is no such directory."""
        place = self.locate(path)
        if not place.is_dir():
            return []
        below = "" if place == self._real_root else place.relative_to(self._real_root).as_posix()
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        described = [self._describe(each, below) for each in entries if not _is_half_written(each.name)]
        return [each for each in described if each]

    def list_files(self) -> list[str]:
        """Return the paths of all files, sorted."""
        found = []
        for directory, _, names in os.walk(self.root):
            below = os.path.relpath(directory, self.root)
            prefix = "" if below == "." else f"{below}/"
            found += [f"{prefix}{name}" for name in names if not _is_half_written(name)]
        return sorted(found)

    def put(self, local_path: str | os.PathLike[str], directory: str = "") -> None:
        """Copy a file, or a directory with its content, below a directory."""
        source = Path(os.path.realpath(local_path))
        name = os.path.basename(os.path.abspath(local_path))  # a link is kept under its own name
        place = self.locate(directory)
        if not source.exists():
            raise TrackingError(f"there is no file `{local_path}` to keep")
        if place.is_relative_to(source):
            raise TrackingError(f"`{source}` cannot be kept: it holds the run itself")
        with explaining("artifact", str(local_path)):
            place.mkdir(parents=True, exist_ok=True)
            _copy(source, place / name)

    def write(self, path: str, content: bytes) -> None:
        """Keep bytes."""
        place = self.locate(path)
        with explaining("artifact", path):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, content, durable=False)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file."""
        try:
            return self.locate(path).read_bytes()
        except OSError as error:
            raise TrackingNotFoundError(f"there is no artifact `{path}` ({error.strerror})") from error

    def copy_to(self, path: str, target_dir: Path) -> Path:
        """Copy a file or directory below `target_dir`, at the path it has here, and return where it is."""
        place = self.locate(path)
        if not place.exists():
            raise TrackingNotFoundError(f"there is no artifact `{path}`")
        target = target_dir / place.relative_to(self._real_root)
        with explaining("artifact", path):
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(place, target)
        return target


def _is_half_written(name: str) -> bool:
    return HALF_WRITTEN.fullmatch(name) is not None


def _copy(source: Path, target: Path, within: tuple[str, ...] = ()) -> None:
    """Copy a file, or a directory's content into one; each file appears whole, links are followed.

    Raises OSError, also for a link to a directory that it lies `within`.
    """
    if source.is_dir():
        real = os.path.realpath(source)
        if real in within:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(source))
        target.mkdir(exist_ok=True)
        for each in sorted(source.iterdir()):
            _copy(each, target / each.name, (*within, real))
    else:
        copy_atomically(source, target)
