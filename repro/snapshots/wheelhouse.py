"""Wheels that are kept, each under the sha256 of its bytes.

    <root>/<sha256>/<file name>.whl

A directory appears with its wheel in it, in one step; a wheel is hashed when it is put here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from repro.errors import ReproError
from repro.files import make_directory, sha256_file


class Wheelhouse:
    """The wheels below `root`; `stage` gives a directory on the same file system for what is on its way in."""

    def __init__(self, root: str | os.PathLike[str], *, stage: Callable[[], AbstractContextManager[str]]) -> None:
        self.root = Path(root)
        self._stage = stage

    def find(self, sha256: str) -> Path | None:
        """Return the wheel with this sha256 (64 hex digits)."""
        try:
            with os.scandir(self.root / sha256) as entries:
                return next((Path(entry.path) for entry in entries if entry.name.endswith(".whl")), None)
        except OSError:
            return None

    def is_sound(self, sha256: str) -> bool:
        """Tell whether the wheel with this sha256 is here and still has it. Raises OSError."""
        wheel = self.find(sha256)
        return wheel is not None and sha256_file(wheel) == sha256

    def discard(self, sha256: str) -> None:
        """Remove a wheel that is not what it was; it leaves its place in one step."""
        with self._stage() as directory, suppress(FileNotFoundError):
            os.rename(self.root / sha256, Path(directory, "discarded"))

    def check(self, sha256: str) -> Path:
        """Return the wheel with this sha256 after hashing it again. Raises ReproError where it is not that any more."""
        wheel = self.find(sha256)
        if wheel is None or not self.is_sound(sha256):
            name = wheel.name if wheel else sha256
            raise ReproError(
                f"the kept wheel `{name}` was changed: its sha256 is not {sha256}",
                hint=f"remove `{self.root / sha256}`; restore then fetches it again where an index has it",
            )
        return wheel

    def keep(self, path: Path) -> str:
        """Keep a wheel and return its sha256; the file at `path` stays. Raises ReproError."""
        try:
            return self._keep(path)
        except OSError as error:
            raise ReproError(
                f"`{path.name}` cannot be kept in `{self.root}` ({error.strerror})",
                hint="make room, or name another cache with `--cache DIR`",
            ) from error

    def _keep(self, path: Path) -> str:
        with self._stage() as directory:
            staged = Path(directory, "wheel")
            make_directory(staged)
            copy = staged / path.name
            shutil.copyfile(path, copy)  # a link would follow what is later written into the file
            sha256 = sha256_file(copy)
            self.adopt(copy, sha256)
            return sha256

    def adopt(self, path: Path, sha256: str) -> None:
        """Keep a wheel that lies alone in a directory on our file system, by moving that; its sha256 was just computed.

        Where the wheel is kept already, the file stays where it is. Raises OSError.
        """
        if self.find(sha256) is None:
            path.chmod(0o444)
            make_directory(self.root)
            try:
                os.rename(path.parent, self.root / sha256)
            except OSError:
                if self.find(sha256) is None:  # unless another process was faster
                    raise
        with suppress(OSError):
            os.utime(self.root / sha256)  # what is kept now must not be pruned as old
