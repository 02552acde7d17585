"""What a zip's directory says of its members, and what none of them may be before one byte is unpacked."""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from repro.values import frozen

MAX_MEMBERS = 100_000
_FREE_BYTES = 64 << 10  # so little may be packed as tightly as it likes
_STORED, _DEFLATED = 0, 8
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip


@frozen
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


def show_name(name: str) -> str:
    """Return a name for a message: nothing in it can steer a terminal."""
    shown = ascii(name)[1:-1]
    return f"`{shown if len(shown) <= 200 else shown[:200] + '...'}`"


def _find_name_fault(name: str, whole: str) -> str | None:
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
        return f"leads out of the {whole}"
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


def _find_size_fault(member: Member, archive_bytes: int, max_ratio: int | None) -> str | None:
    if member.is_encrypted:
        return "is encrypted"
    if member.method not in (_STORED, _DEFLATED):
        return f"is packed by method {member.method}; stored and deflated members are read"
    if member.packed_bytes > archive_bytes or member.offset > archive_bytes:
        return "is larger than the whole zip"
    if member.method == _STORED and member.size_bytes != member.packed_bytes:
        return "is stored, and has two sizes"
    if max_ratio and member.size_bytes > max(max_ratio * member.packed_bytes, _FREE_BYTES):
        return f"says it grows from {member.packed_bytes} to {member.size_bytes} bytes"
    return None


def _find_twins(members: Sequence[Member]) -> Iterator[str]:
    """Yield a sentence for each name that some file system cannot tell from another: by case or by its unicode form."""
    seen: dict[str, str] = {}
    for member in members:
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", member.name).casefold()).removesuffix("/")
        if name in seen:
            other = seen[name]
            same = "stands twice" if other == member.name else f"is the same name as {show_name(other)} on some systems"
            yield f"{show_name(member.name)} {same}"
        seen[name] = member.name


def _find_overlaps(members: Sequence[Member]) -> Iterator[str]:
    """Yield a sentence for each member whose bytes are another's too, which is how small zips grow without end."""
    ordered = sorted(members, key=lambda each: each.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.packed_bytes > after.offset or before.offset == after.offset:
            yield f"{show_name(after.name)} lies within {show_name(before.name)}"


def find_member_faults(
    members: Sequence[Member], archive_bytes: int, *, whole: str, max_ratio: int | None
) -> Iterator[str]:
    """Yield a sentence for each name, kind and size that cannot be trusted, by the zip's directory alone.

    `whole` is what the zip is called, `max_ratio` how much a member may grow, None where the caller limits their sum.
    """
    if len(members) > MAX_MEMBERS:
        yield f"it has {len(members)} members, more than {MAX_MEMBERS}"
        return
    for member in members:
        fault = (
            _find_name_fault(member.name, whole)
            or _find_kind_fault(member)
            or _find_size_fault(member, archive_bytes, max_ratio)
        )
        if fault:
            yield f"{show_name(member.name)} {fault}"
    yield from _find_twins(members)
    yield from _find_overlaps(members)
