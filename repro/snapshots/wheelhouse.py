"""Wheels that are kept, each under the sha256 of its bytes.

    <root>/<sha256>/<file name>.whl

A directory appears with its wheel in it, in one step; a wheel is hashed when it is put here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from repro.errors import ReproError
from repro.files import make_directory, new_nonce, sha256_file


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

    def link(
        self, sha256s: Iterable[str], directory: Path, *, accepts: Callable[[str], bool] = lambda name: True
    ) -> list[str]:
        """Put those of these wheels that are kept into `directory` and return their sha256s; each is hashed again.

        A wheel whose file name `accepts` does not want is left out. Raises ReproError for one that is no longer what
        was kept.
        """
        linked = []
        for sha256 in sha256s:
            wheel = self.find(sha256)
            if wheel is None or not accepts(wheel.name):
                continue
            if sha256_file(wheel) != sha256:
                raise ReproError(
                    f"the kept wheel `{wheel.name}` was changed: its sha256 is not {sha256}",
                    hint=f"remove `{wheel.parent}`; restore then fetches it again where an index has it",
                )
            target = directory / wheel.name
            if not target.exists():
                os.link(wheel, target)
            linked.append(sha256)
        return linked

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
        make_directory(staged)
        try:
            copy = staged / path.name
            shutil.copyfile(path, copy)  # a link would follow what is later written into the file
            sha256 = sha256_file(copy)
            if self.find(sha256) is None:
                copy.chmod(0o444)
                make_directory(self.root)
                target = self.root / sha256
                try:
                    os.rename(staged, target)
                except OSError:
                    if self.find(sha256) is None:  # unless another process was faster
                        raise
            return sha256
        finally:
            shutil.rmtree(staged, ignore_errors=True)
