"""Remember what was computed or asked of an index once, so that the next snapshot costs and asks nothing.

    <root>/records/<aa>/<sha256 of a RECORD file>     its record digest
    <root>/hashes/<index id>/<name>-<version>         sha256 hashes of that version's files, one a line

Everything here can be deleted at any time; a directory that cannot be written costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from repro.files import write_atomically


class Memory:
    """The two memories below `root`; `index_urls` keeps the answers of different indexes apart."""

    def __init__(self, root: Path, *, index_urls: tuple[str, ...] = ()) -> None:
        self._records = os.path.join(root, "records")
        index_id = hashlib.sha256("\n".join(index_urls).encode()).hexdigest()[:16]
        self._hashes = os.path.join(root, "hashes", index_id)

    def _record_path(self, sha256: str) -> str:
        return os.path.join(self._records, sha256[:2], sha256)

    def _hashes_path(self, name: str, version: str) -> str:
        return os.path.join(self._hashes, f"{name}-{version}")

    def find_record_digest(self, sha256: str) -> str | None:
        """Return the record digest of the RECORD file with this sha256."""
        return _read(self._record_path(sha256))

    def keep_record_digest(self, sha256: str, digest: str) -> None:
        """Remember the record digest of a RECORD file."""
        _write(self._record_path(sha256), digest)

    def find_hashes(self, name: str, version: str) -> tuple[str, ...]:
        """Return the hashes known for a version, none where it was never asked for."""
        return tuple((_read(self._hashes_path(name, version)) or "").split())

    def keep_hashes(self, name: str, version: str, hashes: tuple[str, ...]) -> None:
        """Remember the hashes of a version."""
        _write(self._hashes_path(name, version), "\n".join(hashes))


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return None


def _write(path: str, text: str) -> None:
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, text, durable=False)
