"""The record digest: what ties an installed tree to the wheel it came from.

sha256 over the path and hash columns of RECORD (PyPA "Recording installed projects"), sorted, without the rows an
installer adds or rewrites; equal for every installer and before and after byte-compiling.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator

_ADDED_BY_INSTALLERS = frozenset(
    {
        "INSTALLER", "REQUESTED", "RECORD", "RECORD.jws", "RECORD.p7s", "direct_url.json", "provenance_url.json",
        "uv_cache.json", "uv_build.json",
    }
)  # fmt: skip


def _read_rows(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if '"' in line:
            path, hash_, *_ = [*next(csv.reader([line])), ""]
        else:
            path, _, rest = line.partition(",")
            hash_ = rest.partition(",")[0]
        if path:
            yield path, hash_


def _is_from_wheel(path: str) -> bool:
    if path.startswith(("../", "/")) or path.endswith(".pyc"):
        return False
    directory, _, name = path.rpartition("/")
    return not (name in _ADDED_BY_INSTALLERS and directory.endswith(".dist-info"))


def read_paths(text: str) -> list[str]:
    """Return the paths that a RECORD lists, as they stand there: relative to its site directory, a few with `../`."""
    if '"' in text:
        return [path for path, _ in _read_rows(text)]
    return [path for line in text.splitlines() if (path := line.partition(",")[0])]


def digest_record(text: str) -> str:
    """Return the record digest of an installed RECORD file's text, as `sha256:` and 64 hexadecimal digits."""
    rows = sorted(f"{path},{hash_}\n" for path, hash_ in _read_rows(text) if _is_from_wheel(path))
    return "sha256:" + hashlib.sha256("".join(rows).encode()).hexdigest()
