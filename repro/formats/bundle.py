"""A bundle as values: what `bundle.json` says, and which members a zip may have before one byte of it is unpacked.

    bundle.json                what is in it (see `Manifest`)
    pylock.toml                PEP 751, each wheel by its relative path
    requirements-lock.txt      the lock
    wheels/<file name>.whl     a wheel for each entry of the lock
    <name>/...                 what a later version adds: `contents` of bundle.json names it, and it is left alone

A name that neither this layout nor `contents` has is refused (docs/bundle.md).
"""

from __future__ import annotations

import json
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from repro.formats.lockfile import FILE_NAME as LOCK

MANIFEST = "bundle.json"
PYLOCK = "pylock.toml"  # as pylock.py has it, which costs more to import than all of this
WHEELS = "wheels"
FORMAT_VERSION = 1
CONTENTS = (PYLOCK, LOCK, WHEELS)

MAX_MEMBERS = 100_000
MAX_TEXT_BYTES = 64 << 20
MAX_RATIO = 100  # what deflate makes of a lock, a wheel or source code is below 20
_FREE_BYTES = 64 << 10  # so little may be packed as tightly as it likes
_STORED, _DEFLATED = 0, 8
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `bundle.json` says: the names at the top of the zip, the lock's digest, what was left out of it."""

    contents: tuple[str, ...]
    digest: str
    left_out: tuple[str, ...] = ()


def format_manifest(manifest: Manifest) -> str:
    """Return the text of bundle.json; equal manifests give equal text."""
    content = {
        "bundle": FORMAT_VERSION,
        "contents": sorted(manifest.contents),
        "digest": manifest.digest,
        "left_out": sorted(manifest.left_out),
    }
    return json.dumps(content, indent=2) + "\n"


def _read_texts(content: dict[str, object], key: str) -> tuple[str, ...]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"`{key}` is no list of texts")
    return tuple(value)


def parse_manifest(text: str | bytes) -> Manifest:
    """Return what bundle.json says; keys that are not known are left alone. Raises ValueError for another format."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{MANIFEST}` is not valid JSON ({error})") from error
    if not isinstance(content, dict) or "bundle" not in content:
        raise ValueError(f"`{MANIFEST}` has no `bundle`, the version of its format")
    if content["bundle"] != FORMAT_VERSION or isinstance(content["bundle"], bool):
        raise ValueError(f"its format is {_show(str(content['bundle']))}; this repro reads format {FORMAT_VERSION}")
    digest = content.get("digest", "")
    if not isinstance(digest, str):
        raise ValueError(f"`digest` of `{MANIFEST}` is no text")
    return Manifest(contents=_read_texts(content, "contents"), digest=digest, left_out=_read_texts(content, "left_out"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member as the directory of a zip states it: sizes in bytes, `mode` as of a file system (0 where unknown)."""

    name: str
    size_bytes: int
    packed_bytes: int
    offset: int
    mode: int
    is_encrypted: bool
    method: int

    @property
    def is_directory(self) -> bool:
        """Whether it stands for a directory: zips that were packed again have such members."""
        return self.name.endswith("/")

    @property
    def top(self) -> str:
        """The first part of its name."""
        return self.name.partition("/")[0]

    @property
    def wheel(self) -> str | None:
        """The file name of the wheel that it is."""
        directory, _, name = self.name.partition("/")
        return name if directory == WHEELS and name else None


def _show(name: str) -> str:
    """Return a name for a message: nothing in it can steer a terminal."""
    shown = ascii(name)[1:-1]
    return f"`{shown if len(shown) <= 200 else shown[:200] + '...'}`"


def _find_name_fault(name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "has a control character"
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/"):
        return "is absolute"
    if re.match(r"[A-Za-z]:", name):
        return "names a drive"
    if any(part in (".", "..") for part in parts):
        return "leads out of the bundle"
    if "" in parts:
        return "has an empty part"
    if any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
        return "is too long"
    return None


def _find_kind_fault(member: Member) -> str | None:
    kind = stat.S_IFMT(member.mode)
    if kind in _KINDS:
        return f"is {_KINDS[kind]}"
    if member.is_directory:
        return "is a directory with content" if member.size_bytes else None
    return "is no file" if kind not in (0, stat.S_IFREG) else None


def _find_size_fault(member: Member, archive_bytes: int) -> str | None:
    if member.is_encrypted:
        return "is encrypted"
    if member.method not in (_STORED, _DEFLATED):
        return f"is packed by method {member.method}; stored and deflated members are read"
    if member.packed_bytes > archive_bytes or member.offset > archive_bytes:
        return "is larger than the whole zip"
    if member.method == _STORED and member.size_bytes != member.packed_bytes:
        return "is stored, and has two sizes"
    if member.size_bytes > max(MAX_RATIO * member.packed_bytes, _FREE_BYTES):
        return f"says it grows from {member.packed_bytes} to {member.size_bytes} bytes"
    if member.name in (MANIFEST, LOCK, PYLOCK) and member.size_bytes > MAX_TEXT_BYTES:
        return f"has {member.size_bytes} bytes, more than {MAX_TEXT_BYTES}"
    return None


def _find_twins(members: Sequence[Member]) -> Iterator[str]:
    """Yield a sentence for each name that some file system cannot tell from another: by case or by its unicode form."""
    seen: dict[str, str] = {}
    for member in members:
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", member.name).casefold()).removesuffix("/")
        if name in seen:
            other = seen[name]
            same = "stands twice" if other == member.name else f"is the same name as {_show(other)} on some systems"
            yield f"{_show(member.name)} {same}"
        seen[name] = member.name


def _find_overlaps(members: Sequence[Member]) -> Iterator[str]:
    """Yield a sentence for each member whose bytes are another's too, which is how small zips grow without end."""
    ordered = sorted(members, key=lambda each: each.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.packed_bytes > after.offset or before.offset == after.offset:
            yield f"{_show(after.name)} lies within {_show(before.name)}"


def find_faults(members: Sequence[Member], archive_bytes: int) -> Iterator[str]:
    """Yield a sentence for each thing that no bundle has: names, kinds and sizes, by the zip's directory alone."""
    if len(members) > MAX_MEMBERS:
        yield f"it has {len(members)} members, more than {MAX_MEMBERS}"
        return
    for member in members:
        fault = _find_name_fault(member.name) or _find_kind_fault(member) or _find_size_fault(member, archive_bytes)
        if fault:
            yield f"{_show(member.name)} {fault}"
    yield from _find_twins(members)
    yield from _find_overlaps(members)
    if all(member.name != LOCK for member in members):
        yield f"there is no `{LOCK}` in it"


def find_strangers(members: Sequence[Member], manifest: Manifest) -> Iterator[str]:
    """Yield a sentence for each member that is neither of the layout nor of what `contents` names."""
    for member in members:
        if member.wheel is not None and not _WHEEL.fullmatch(member.wheel):
            yield f"{_show(member.name)} is no wheel"
        elif member.top in (MANIFEST, LOCK, PYLOCK) and member.name != member.top:
            yield f"{_show(member.name)} is no place for a file"
        elif member.name == WHEELS or (member.top not in (MANIFEST, *CONTENTS) and member.top not in manifest.contents):
            yield f"{_show(member.name)} is not of the layout, and `{MANIFEST}` does not name it"
