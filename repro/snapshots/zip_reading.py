"""Read a zip whose directory was checked: no member further than it says it goes."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import TypeVar

from repro.files import BLOCK_BYTES
from repro.formats.zip_members import Member

_ENCRYPTED = 0x1 | 0x40 | 0x2000  # APPNOTE.TXT 4.4.4: encrypted, strongly, the directory too
BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError, MemoryError,
)  # fmt: skip
"""What reading a broken zip may raise."""

M = TypeVar("M", bound=Member)


def describe(info: zipfile.ZipInfo, kind: type[M]) -> M:
    """Return a member as the directory of its zip states it."""
    return kind(
        name=info.orig_filename,  # `filename` ends at a NUL
        size_bytes=info.file_size,
        packed_bytes=info.compress_size,
        offset=info.header_offset,
        mode=info.external_attr >> 16,
        is_encrypted=bool(info.flag_bits & _ENCRYPTED),
        method=info.compress_type,
    )


def read_blocks(archive: zipfile.ZipFile, member: Member) -> Iterator[bytes]:
    """Yield the content of a member. Raises one of BROKEN where it is not what the zip says of it, and OSError."""
    size = 0
    with archive.open(archive.getinfo(member.name)) as stream:  # compares both names, and at the end the CRC
        while block := stream.read(BLOCK_BYTES):
            size += len(block)
            if size > member.size_bytes:
                raise ValueError(f"`{member.name}` goes on behind its end")
            yield block
    if size != member.size_bytes:
        raise EOFError(f"`{member.name}` ends after {size} of {member.size_bytes} bytes")
