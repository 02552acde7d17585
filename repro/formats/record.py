"""The record digest: what ties an installed tree to the wheel it came from.

sha256 over the path and hash columns of RECORD (PyPA "Recording installed projects"), sorted, without the rows an
installer adds or rewrites; equal for every installer and before and after byte-compiling.
"""

from __future__ import annotations

from collections.abc import Iterator

from repro.digests import sha256_hex

_ADDED_BY_INSTALLERS = frozenset(
    {
        "INSTALLER", "REQUESTED", "RECORD", "RECORD.jws", "RECORD.p7s", "direct_url.json", "provenance_url.json",
        "uv_cache.json", "uv_build.json",
    }
)  # fmt: skip


def read_rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, hash (`sha256=` and urlsafe base64) and size in bytes of each row, "" for what it leaves out."""
    for line in text.splitlines():
        if '"' in line:
            import csv

            path, hash_, size, *_ = [*next(csv.reader([line])), "", ""]
        else:
            path, _, rest = line.partition(",")
            hash_, _, size = rest.partition(",")
        if path:
            yield path, hash_, size


def is_from_wheel(path: str) -> bool:
    """Tell whether a row of an installed RECORD stands for a file of the wheel, not one an installer adds."""
    if path.startswith(("../", "/")) or path.endswith(".pyc"):
        return False
    directory, _, name = path.rpartition("/")
    return not (name in _ADDED_BY_INSTALLERS and directory.endswith(".dist-info"))


def read_paths(text: str) -> list[str]:
    """Return the paths that a RECORD lists, as they stand there: relative to its site directory, a few with `../`."""
    if '"' in text:
        return [path for path, _, _ in read_rows(text)]
    return [path for line in text.splitlines() if (path := line.partition(",")[0])]


def _digest(rows: list[str]) -> str:
    return "sha256:" + sha256_hex("".join(sorted(rows)).encode())


def digest_record(text: str) -> str:
    """Return the record digest of an installed RECORD file's text, as `sha256:` and 64 hexadecimal digits."""
    return _digest([f"{path},{hash_}\n" for path, hash_, _ in read_rows(text) if is_from_wheel(path)])


def digest_wheel_record(text: str) -> str:
    """Return the record digest of the RECORD inside a wheel: what an installed one has, wherever it was installed.

    What an installer takes from `<name>.data/purelib` and `platlib` counts by where it goes, the rest of `.data`
    (scripts, headers, data) not at all (PyPA "Binary distribution format").
    """
    rows = []
    for path, hash_, _ in read_rows(text):
        top, _, rest = path.partition("/")
        if top.endswith(".data"):
            scheme, _, path = rest.partition("/")  # noqa: PLW2901
            if scheme not in ("purelib", "platlib"):
                continue
        if is_from_wheel(path):
            rows.append(f"{path},{hash_}\n")
    return _digest(rows)
