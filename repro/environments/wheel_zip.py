"""A wheel as a zip file whose members are read whole, one system call and one inflation each.

A stream of zipfile's own costs as much time as inflating a module; large members are still read as streams.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

from installer.sources import WheelContentElement, WheelFile

_LARGE_BYTES = 16 << 20
_HEADER_BYTES = 30
_ENCRYPTED, _PATCHED, _STRONGLY_ENCRYPTED = 0x1, 0x20, 0x40


class WheelZip(zipfile.ZipFile):
    """A zip file to be read; `open` raises BadZipFile for a member that is not what the directory of the zip says."""

    def open(self, name: str | zipfile.ZipInfo, mode: Any = "r", *args: Any, **options: Any) -> IO[bytes]:
        """Return a stream of a member's content."""
        info = name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)
        is_plain = not info.flag_bits & (_ENCRYPTED | _PATCHED | _STRONGLY_ENCRYPTED)
        is_known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if mode != "r" or not is_plain or not is_known or max(info.file_size, info.compress_size) > _LARGE_BYTES:
            return super().open(name, mode, *args, **options)
        return io.BytesIO(self._read_whole(info))

    def _read_whole(self, info: zipfile.ZipInfo) -> bytes:
        """Return a member's content, checked as zipfile does: local header, name, size, CRC."""
        descriptor = self.fp.fileno() if self.fp else -1
        spare = len(info.orig_filename) * 4 + 256
        head = os.pread(descriptor, _HEADER_BYTES + spare + info.compress_size, info.header_offset)
        begin = _HEADER_BYTES + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        _check_header(head, info, begin)
        packed = head[begin : begin + info.compress_size]
        if len(packed) < info.compress_size:
            packed = os.pread(descriptor, info.compress_size, info.header_offset + begin)
        content = _inflate(packed, info)
        if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
        return content


class Wheel(WheelFile):
    """A wheel without bytecode, which is each machine's own; installer would warn of each such file."""

    def get_contents(self) -> Iterator[WheelContentElement]:
        """Yield the files that are installed."""
        for element in super().get_contents():
            if "__pycache__" not in element[0][0].split("/")[:-1]:
                yield element


def _check_header(head: bytes, info: zipfile.ZipInfo, begin: int) -> None:
    """Refuse a local header that is another file's, and a member that reaches into the next, as zip bombs' do."""
    encoding = "utf-8" if int.from_bytes(head[6:8], "little") & 0x800 else "cp437"
    name = head[_HEADER_BYTES : _HEADER_BYTES + int.from_bytes(head[26:28], "little")]
    if head[:4] != b"PK\3\4" or name != info.orig_filename.encode(encoding):
        raise zipfile.BadZipFile(f"the local header of {info.filename!r} is another file's")
    end = getattr(info, "_end_offset", None)  # where Python knows it: 3.11.8 and later
    if end is not None and info.header_offset + begin + info.compress_size > end:
        raise zipfile.BadZipFile(f"{info.filename!r} overlaps another file")


def _inflate(packed: bytes, info: zipfile.ZipInfo) -> bytes:
    """Return the content of what may be deflated, never more than the directory says and one byte."""
    if info.compress_type == zipfile.ZIP_STORED:
        return packed
    try:
        return zlib.decompressobj(-15).decompress(packed, info.file_size + 1)
    except zlib.error as error:
        raise zipfile.BadZipFile(f"{info.filename!r} cannot be inflated ({error})") from error
