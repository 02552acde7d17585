"""A journal: what one process has logged to one run, in order, and how much of it the server has.

<nonce>.log     a line `# <boot>`, then the entries (see `entries`), appended by one process that holds its lock
<nonce>.sent    `? <end>` before a batch up to there is sent, `= <end>` when the server has it

A line is written with one call before the logging call returns, so that what returned outlives kill -9; it is synced
to the disk only where a flush ends and the server has not got it (a power cut may cost what the server has anyway).
A last line without its end was cut off and its call never returned: it does not count.

A batch between `?` and `=` is doubtful: the server may have it. After another start of the machine the marks may be
older than what was sent, and all that is not known to be sent is doubtful.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from repro.errors import TrackingError
from repro.files import SETTLED, find_boot, new_nonce, try_lock
from repro.tracking.rest.entries import Chunk, cut_chunk

_PIECE_BYTES = 1 << 20
_EVERYTHING = 1 << 62
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW


def _read_marks(path: Path) -> tuple[int, int]:
    """Return how far was sent, and how far may have been."""
    sent = doubtful = 0
    with suppress(FileNotFoundError):
        for line in path.read_bytes().split(b"\n")[:-1]:
            sign, _, end = line.partition(b" ")
            if end.isdigit():
                sent, doubtful = (int(end), doubtful) if sign == b"=" else (sent, int(end))
    return sent, doubtful


def count_unsent(path: Path) -> int:
    """Return how many entries of a journal the server has not got yet."""
    sent, _ = _read_marks(path.with_suffix(".sent"))
    with suppress(OSError), open(path, "rb") as file:
        file.seek(sent)
        return sum(line.endswith(b"\n") and not line.startswith(b"#") for line in file)
    return 0


class Journal:
    """An open journal, whose lock is held; `written` is where its last whole line ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._marks = path.with_suffix(".sent")
        self._marks_descriptor: int | None = None
        self.lock = threading.RLock()  # a signal's handler may log too
        self.is_closed = False
        header, self.written = self._read_shape()
        sent, self.doubtful = _read_marks(self._marks)
        self.sent = max(sent, len(header))
        boot = header[2:].strip().decode(errors="replace")
        if boot == SETTLED or boot != find_boot():
            self.doubtful = _EVERYTHING

    @classmethod
    def make(cls, directory: Path) -> Journal:
        """Make a journal in a run's directory.

        Raises OSError, FileNotFoundError also where somebody took it for one that was left before we had locked it.
        """
        path = directory / f"{new_nonce()}.log"
        descriptor = os.open(path, _FLAGS | os.O_EXCL, 0o600)
        if not try_lock(descriptor) or not os.fstat(descriptor).st_nlink:
            os.close(descriptor)
            raise FileNotFoundError(path)
        os.write(descriptor, f"# {find_boot()}\n".encode())
        made = cls(path, descriptor)
        made.doubtful = 0  # nobody has sent any of it
        return made

    @classmethod
    def find_left(cls, path: Path) -> Journal | None:
        """Open the journal of a process that has ended; None where it has not, or somebody else sends it."""
        try:
            descriptor = os.open(path, _FLAGS & ~os.O_CREAT)
        except OSError:
            return None
        if not try_lock(descriptor) or not os.fstat(descriptor).st_nlink:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def _read_shape(self) -> tuple[bytes, int]:
        """Return the first line, and where the last whole one ends."""
        size = os.fstat(self._descriptor).st_size
        first = os.pread(self._descriptor, 256, 0)
        header = first[: first.find(b"\n") + 1] if first.startswith(b"#") else b""
        end = size
        while end > 0:
            start = max(end - _PIECE_BYTES, 0)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                return header, start + found + 1
            end = start
        return header, 0

    def append(self, lines: str) -> None:
        """Keep whole lines, all or none of them; the lock is the caller's. Raises TrackingError."""
        content = lines.encode()
        try:
            done = os.write(self._descriptor, content)
            while done < len(content):
                done += os.write(self._descriptor, content[done:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.written)
            raise TrackingError(
                f"`{self.path}` cannot be written ({error.strerror})",
                hint="REPRO_OUTBOX names another directory for what the server has not got yet",
            ) from error
        self.written += len(content)

    @property
    def is_sent(self) -> bool:
        """Whether the server has all of it."""
        return self.sent >= self.written

    def read_chunk(self) -> Chunk | None:
        """Return what is to be sent next, None where the server has all."""
        size = 1 << 18
        while self.sent < self.written:
            content = os.pread(self._descriptor, min(size, self.written - self.sent), self.sent)
            if chunk := cut_chunk(content, self.sent):
                return chunk
            if len(content) < size:  # no line, though one ends here: it was changed behind our back
                raise TrackingError(f"`{self.path}` is no journal")
            size *= 4
        return None

    def _mark(self, sign: str, end: int) -> None:
        if self._marks_descriptor is None:
            self._marks_descriptor = os.open(self._marks, _FLAGS, 0o600)
        os.write(self._marks_descriptor, f"{sign} {end}\n".encode())

    def note_try(self, chunk: Chunk) -> None:
        """Note that a chunk is sent now, and may have arrived whatever becomes of us. Raises OSError."""
        self._mark("?", chunk.end)
        self.doubtful = max(self.doubtful, chunk.end)

    def note_not_sent(self, chunk: Chunk) -> None:
        """Note that a chunk which was sent for the first time has not arrived."""
        if self.doubtful == chunk.end:
            self.doubtful = chunk.start

    def note_sent(self, chunk: Chunk) -> None:
        """Note that the server has a chunk. Raises OSError."""
        self._mark("=", chunk.end)
        self.sent = chunk.end

    def is_doubtful(self, chunk: Chunk) -> bool:
        """Tell whether the server may have some of a chunk already."""
        return chunk.start < self.doubtful

    def sync(self) -> None:
        """Return when all of it is on the disk. Raises OSError."""
        os.fsync(self._descriptor)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Give it up, and remove it where the server has all of it."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.is_sent:
            with suppress(OSError):
                self._marks.unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Close the files, as a forked child does: they are its parent's."""
        self.is_closed = True
        for descriptor in (self._descriptor, self._marks_descriptor):
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)
