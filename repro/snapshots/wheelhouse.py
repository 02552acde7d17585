"""Wheels that are kept, each under the sha256 of its bytes.

    <root>/<sha256>/<file name>.whl

A directory appears with its wheel in it, in one step; a wheel is hashed when it is put here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from repro.errors import ReproError
from repro.files import new_nonce, sha256_file


class Wheelhouse:
    """The wheels below `root`; what is on its way in lies in `staging_dir`, on the same file system."""

    def __init__(self, root: str | os.PathLike[str], *, staging_dir: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._staging_dir = Path(staging_dir)

    def find(self, sha256: str) -> Path | None:
        """Return the wheel with this sha256 (64 hex digits)."""
        try:
            with os.scandir(self.root / sha256) as entries:
                return next((Path(entry.path) for entry in entries if entry.name.endswith(".whl")), None)
        except OSError:
            return None

    def check(self, sha256: str) -> Path:
        """Return the wheel with this sha256 after hashing it again. Raises ReproError where it is not that any more."""
        wheel = self.find(sha256)
        if wheel is None or sha256_file(wheel) != sha256:
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
        staged = self._staging_dir / new_nonce()
        staged.mkdir(parents=True)
        try:
            copy = staged / path.name
            shutil.copyfile(path, copy)  # a link would follow what is later written into the file
            sha256 = sha256_file(copy)
            self.adopt(copy, sha256)
            return sha256
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def adopt(self, path: Path, sha256: str) -> None:
        """Keep a wheel that lies alone in a directory on our file system, by moving that; its sha256 was just computed.

        Where the wheel is kept already, the file stays where it is. Raises OSError.
        """
        if self.find(sha256) is not None:
            return
        path.chmod(0o444)
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(path.parent, self.root / sha256)
        except OSError:
            if self.find(sha256) is None:  # unless another process was faster
                raise
