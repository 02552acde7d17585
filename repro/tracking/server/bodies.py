"""The body of a request, read as it comes and never beyond its end (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

from repro.tracking.server.refusal import Refusal
from repro.tracking.wire import Fields

MAX_JSON_BYTES = 16 << 20
_BLOCK_BYTES = 1 << 20
_MAX_LINE = 1024
_MAX_TRAILERS = 32


def _refuse(message: str, status: int = 400) -> Refusal:
    return Refusal("BAD_REQUEST", message, status=status)


def _refuse_half_characters(fields: Fields) -> None:
    """Refuse texts that no file can hold: JSON can name one half of a pair (RFC 8259, section 8.2)."""
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _refuse("the request's body has half a character") from error


class Body:
    """A body of `length` bytes, or with None one in chunks that end with an empty one.

    Reading raises Refusal where the client sends something else, and TimeoutError where it sends nothing.
    """

    def __init__(self, stream: BinaryIO, length: int | None) -> None:
        self._stream = stream
        self._left = length or 0
        self._is_chunked = length is None
        self.length = length
        self.is_read = length == 0

    def read(self, size: int = _BLOCK_BYTES) -> bytes:
        """Return some of the bytes, at most `size`; none at the end."""
        if self._is_chunked and not self._left and not self.is_read:
            self._start_chunk()
        if self.is_read:
            return b""
        block = self._stream.read(min(size, self._left))
        if not block:
            raise _refuse("the request's body ends too early")
        self._left -= len(block)
        if not self._left:
            self._finish_part()
        return block

    def _read_line(self) -> bytes:
        line = self._stream.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise _refuse("the request's body is not in chunks that can be read")
        return line.rstrip(b"\r\n")

    def _start_chunk(self) -> None:
        size = self._read_line().partition(b";")[0].strip()
        if not size or len(size) > 15 or any(each not in b"0123456789abcdefABCDEF" for each in size):
            raise _refuse("a chunk of the request's body has no size")
        self._left = int(size, 16)
        if not self._left:
            self._skip_trailers()
            self.is_read = True

    def _skip_trailers(self) -> None:
        for _ in range(_MAX_TRAILERS):
            if not self._read_line():
                return
        raise _refuse("the request's body has too many trailers")

    def _finish_part(self) -> None:
        if not self._is_chunked:
            self.is_read = True
        elif self._read_line():
            raise _refuse("a chunk of the request's body is longer than its size")

    def read_whole(self, most: int) -> bytes:
        """Return all bytes. Raises Refusal for more than `most`."""
        if self.length is not None and self.length > most:
            raise _refuse(f"the request's body has {self.length} bytes, and may have {most}", status=413)
        blocks = []
        size = 0
        while block := self.read():
            size += len(block)
            if size > most:
                raise _refuse(f"the request's body has more than {most} bytes", status=413)
            blocks.append(block)
        return b"".join(blocks)

    def read_fields(self) -> Fields:
        """Return the object that a JSON body is; no body is an empty one. Raises Refusal."""
        content = self.read_whole(MAX_JSON_BYTES)
        if not content.strip():
            return {}
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _refuse(f"the request's body is no JSON ({error})") from error
        if not isinstance(fields, dict):
            raise _refuse("the request's body is no JSON object")
        if b"\\u" in content:
            _refuse_half_characters(fields)
        return fields


def open_body(stream: BinaryIO, headers: Mapping[str, list[str]]) -> Body:
    """Return the body that a request's headers announce. Raises Refusal for headers that can be read in two ways."""
    lengths, codings = headers.get("content-length", []), headers.get("transfer-encoding", [])
    if headers.get("content-encoding", ["identity"]) != ["identity"]:
        raise _refuse("the request's body is compressed, which is not supported", status=415)
    if codings:
        if lengths or [each.strip().lower() for each in codings] != ["chunked"]:
            raise _refuse("the length of the request's body is not clear")
        return Body(stream, None)
    if not lengths:
        return Body(stream, 0)
    if len(set(lengths)) != 1 or not (lengths[0].isascii() and lengths[0].isdecimal()) or len(lengths[0]) > 15:
        raise _refuse("the length of the request's body is not clear")
    return Body(stream, int(lengths[0]))
