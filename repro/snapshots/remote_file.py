"""A file behind a URL as zipfile reads it: its end first, in one request, then what else is asked for."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import IO, Protocol

from repro.formats.direct_url import clean_url
from repro.snapshots.door import Response
from repro.snapshots.pins import FetchError

TAIL_BYTES = 1 << 16
_LEAST_BYTES = 1 << 14
_MOST_BYTES = 1 << 26
_SPOOL_BYTES = 1 << 23


class Ask(Protocol):
    """Ask for a URL as `Door.get` does."""

    def __call__(self, url: str, headers: Mapping[str, str], into: IO[bytes] | None = None) -> Response: ...


def _read_range(response: Response) -> tuple[int, int] | None:
    """Return where a part begins, and the size of the whole, as the server says (RFC 9110, 14.4)."""
    stated, _, total = response.headers.get("content-range", "").removeprefix("bytes ").partition("/")
    first = stated.partition("-")[0]
    return (int(first), int(total)) if first.isdigit() and total.isdigit() else None


def open_whole(ask: Ask, url: str) -> IO[bytes]:
    """Return a whole file, on disk if it is large. Raises FetchError and IndexUnreachableError."""
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))
        response = ask(url, {"Accept-Encoding": "identity"}, spool)
        if response.status != 200:
            raise FetchError(f"`{clean_url(url)}` cannot be read (HTTP {response.status})")
        spool.seek(0)
        stack.pop_all()
        return spool


def open_remote(ask: Ask, url: str, *, tail_bytes: int = TAIL_BYTES) -> IO[bytes]:
    """Return a file to read from any position, of which the last `tail_bytes` are there.

    Where the server knows no parts, it is all there, on disk if it is large. Raises FetchError and
    IndexUnreachableError.
    """
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))
        response = ask(url, {"Range": f"bytes=-{tail_bytes}", "Accept-Encoding": "identity"}, spool)
        if response.status == 416:  # it is shorter than its tail, and the server minds
            response = ask(url, {"Accept-Encoding": "identity"}, spool)
        spool.seek(0)
        if response.status == 200:
            stack.pop_all()
            return spool
        place = _read_range(response) if response.status == 206 else None
        if place is None:
            raise FetchError(f"`{clean_url(url)}` cannot be read (HTTP {response.status})")
        tail = spool.read(_MOST_BYTES + 1)
    start, size = place
    if start + len(tail) != size:
        raise FetchError(f"`{clean_url(url)}` cannot be read in parts: the server sends others")
    return io.BufferedReader(_RemoteFile(ask, response.url, start=start, tail=tail), _LEAST_BYTES)


class _RemoteFile(io.RawIOBase):
    """The parts that are known, by where they begin, and how to ask for others."""

    def __init__(self, ask: Ask, url: str, *, start: int, tail: bytes) -> None:
        self._ask = ask
        self._url = url
        self._size = start + len(tail)
        self._parts = {start: tail}
        self._at = 0

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position in bytes."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as one part reaches, which is asked for where it is not there."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        found = next((start for start, part in self._parts.items() if start <= self._at < start + len(part)), None)
        if found is None:
            later = [start for start in self._parts if start > self._at]
            found = self._fetch(self._at, min([self._at + wanted, *later]))
        at = self._at - found
        content = self._parts[found][at : at + wanted]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _fetch(self, start: int, end: int) -> int:
        """Ask for a part and return where it begins."""
        if end - start > _MOST_BYTES:
            raise FetchError(
                f"`{clean_url(self._url)}` cannot be read in parts: one of {end - start} bytes is too large"
            )
        response = self._ask(self._url, {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"})
        if response.status != 206 or len(response.body) != end - start or _read_range(response) != (start, self._size):
            raise FetchError(f"`{clean_url(self._url)}` cannot be read in parts (HTTP {response.status})")
        self._parts[start] = response.body
        return start
