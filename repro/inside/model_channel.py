"""Send and receive frames over a socket: what a process that holds a model and the one that asks it say to each other.

A frame is `RPM1`, the length of its header (u32, little-endian), the header (JSON, with `buffers`, their lengths), and
the buffers. Where they are large and Linux has memfd_create(2), they lie in memory that both map instead: the header
says `memory`, with where each begins, and the descriptor comes with the frame's first byte. That memory cannot shrink
under who reads it, and who writes into what it has read has pages of its own. Fresh pages are what costs most, so an
answer that says `free`, because nobody holds what was read, lets the asker write into the same ones again; an answer's
memory is sealed, for the asker trusts nobody to leave it alone. Python 3.8, standard library.
"""

import fcntl
import json
import mmap
import os
import socket
import struct
import time
import weakref

MAGIC = b"RPM1"
MOST_HEADER_BYTES = 512 << 20
MOST_BUFFER_BYTES = 64 << 30
_LEAST_MEMORY_BYTES = 1 << 20
_LEAST_APART_BYTES = 64 << 10
_ALIGNMENT = 64
_DESCRIPTOR = struct.calcsize("i")
_BESIDE_BYTES = socket.CMSG_SPACE(_DESCRIPTOR)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_MOST_SPARE_BYTES = 256 << 20
_MOST_AHEAD_BYTES = 16 << 20
_MOST_MAPPED = 64
_SOON_S = 0.001  # some times as long as a process takes to be woken
_MAY_LOOK = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) > 1  # else the other side must have ours


def pack_header(header):
    """Return the beginning of a frame: its header, a dictionary, as JSON and how long that is. Raises ValueError."""
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(text) > MOST_HEADER_BYTES:
        raise ValueError("it has %d bytes of text, and may have %d" % (len(text), MOST_HEADER_BYTES))
    return MAGIC + struct.pack("<I", len(text)) + text


def read_length(head):
    """Return how long a frame's header is. Raises ValueError for eight bytes that begin no frame."""
    length = struct.unpack("<I", head[4:])[0]
    if head[:4] != MAGIC or length > MOST_HEADER_BYTES:
        raise ValueError("it is no frame")
    return length


def read_header(text):
    """Return a frame's header, whose `buffers` are lengths that can be. Raises ValueError."""
    try:
        header = json.loads(bytes(text).decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("its header holds others too deep") from None
    lengths = header.get("buffers") if isinstance(header, dict) else None
    if not isinstance(lengths, list) or not all(type(each) is int and each >= 0 for each in lengths):
        raise ValueError("it does not say how long its buffers are")
    if sum(lengths) > MOST_BUFFER_BYTES:
        raise ValueError("it promises %d bytes" % sum(lengths))
    return header


def _lay_out(buffers):
    """Return where each buffer begins, and how long all are."""
    places, end = [], 0
    for each in buffers:
        places.append(end)
        end += -(-len(each) // _ALIGNMENT) * _ALIGNMENT
    return places, end


class _Memory:
    """Memory that is sent: its descriptor and its size, which no seal lets change any more. Raises OSError."""

    def __init__(self, size):
        self.size = size
        self.descriptor = os.memfd_create("repro-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(self.descriptor, size)
            self.seal(fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        except BaseException:
            self.close()
            raise

    def seal(self, seals):
        """Forbid what the seals name, whoever would do it."""
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)

    def fill(self, buffers, places):
        """Write each buffer to its place. Raises OSError."""
        for place, each in zip(places, buffers):
            left, at = memoryview(each), place
            while left:
                count = os.pwrite(self.descriptor, left, at)
                left, at = left[count:], at + count

    def close(self):
        """Let go of it."""
        os.close(self.descriptor)


def _check_memory(descriptor, seals, places, lengths):
    """Return how much of the memory that the other side has filled is used. Raises ValueError where it may not be."""
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & seals != seals:
        raise ValueError("its memory may change")
    size = os.fstat(descriptor).st_size
    ends = [
        place + length for place, length in zip(places, lengths) if type(place) is int and 0 <= place <= size - length
    ]
    if not len(ends) == len(places) == len(lengths) or not any(ends):
        raise ValueError("its memory is smaller than its buffers")
    return max(ends)


def _copy(descriptor, place, length):
    """Return what lies in memory. Raises OSError."""
    buffer = bytearray(length)
    with memoryview(buffer) as view:
        done = 0
        while done < length:
            done += os.preadv(descriptor, [view[done:]], place + done)
    return buffer


class Channel:
    """Frames over a connected Unix socket; one side `asks`, the other answers."""

    def __init__(self, connection, asks):
        self.socket = connection
        self._asks = asks
        self._come, self._taken = b"", 0
        self._comes_soon = False
        self._views = []  # of what was received last, and what they are views of
        self._mapped = weakref.WeakSet()
        self._lent = None
        self._spare = None

    def _take(self, length):
        """Return so many bytes, or fewer, of those that have come already."""
        part = self._come[self._taken : self._taken + length]
        self._taken += len(part)
        return part

    def _read(self, length):
        """Return so many bytes; they are no more than promised, so that memory is taken as they come."""
        part = self._take(length)
        if len(part) == length:
            return bytearray(part)  # it may be written: some models need that
        buffer, done = bytearray(min(length, _MOST_AHEAD_BYTES)), len(part)
        buffer[:done] = part
        while done < length:
            if done == len(buffer):
                buffer.extend(bytes(min(length - done, done)))
            with memoryview(buffer) as view:
                count = self.socket.recv_into(view[done:])
            if not count:
                raise EOFError
            done += count
        return buffer

    def _wait(self, looks):
        """Return what comes next; who `looks`, looks for it a while where it came soon the last time."""
        began = now = time.perf_counter()
        while looks and self._comes_soon and now - began < _SOON_S:
            try:
                return self.socket.recvmsg(_LEAST_APART_BYTES, _BESIDE_BYTES, _CLOEXEC | socket.MSG_DONTWAIT)
            except BlockingIOError:
                now = time.perf_counter()
        come = self.socket.recvmsg(_LEAST_APART_BYTES, _BESIDE_BYTES, _CLOEXEC)
        self._comes_soon = _MAY_LOOK and time.perf_counter() - began < _SOON_S
        return come

    def _read_head(self, descriptors, looks):
        """Return the first eight bytes of a frame, and add the descriptors that have come with them.

        What has come behind them is kept: mostly that is the whole frame.
        """
        head = self._take(8)
        while len(head) < 8:
            self._come, beside, _, _ = self._wait(looks)
            self._taken = 0
            for level, kind, content in beside:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    count = len(content) // _DESCRIPTOR
                    descriptors.extend(struct.unpack("%di" % count, content[: count * _DESCRIPTOR]))
            if not self._come:
                raise EOFError
            head += self._take(8 - len(head))
        return head

    def receive(self, looks=False):
        """Return a header and its buffers. Raises EOFError, OSError, and ValueError for what is no frame.

        To be woken takes longer than a small call: who `looks` does not sleep for a millisecond, where the last frame
        came within one.
        """
        descriptors, self._views = [], []
        try:
            header = read_header(self._read(read_length(self._read_head(descriptors, looks))))
            lengths, places = header["buffers"], header.get("memory")
            if places is None:
                return header, [self._read(length) for length in lengths]
            if len(descriptors) != 1 or not isinstance(places, list):
                raise ValueError("it has no memory")
            return header, self._open_memory(descriptors[0], places, lengths)
        finally:
            _close(descriptors)

    def _open_memory(self, descriptor, places, lengths):
        """Return the buffers that lie in memory of the other side's."""
        seals = fcntl.F_SEAL_SHRINK | (fcntl.F_SEAL_WRITE if self._asks else 0)
        size = _check_memory(descriptor, seals, places, lengths)
        if len(self._mapped) >= _MOST_MAPPED:  # Python keeps a descriptor for each, and there are but so many
            return [_copy(descriptor, place, length) for place, length in zip(places, lengths)]
        mapped = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._mapped.add(mapped)
        whole = memoryview(mapped)
        views = [whole[place : place + length] for place, length in zip(places, lengths)]
        self._views = [*views, whole, mapped]
        return views

    def release(self):
        """Give back the memory that was received last, and tell whether there was any and nobody holds it."""
        views, self._views = self._views, []
        try:
            for each in views[:-1]:
                each.release()
            for each in views[-1:]:
                each.close()
        except BufferError:  # an array lies in it
            return False
        return bool(views)

    def send(self, header, buffers=(), memory=True):
        """Send a frame; `memory` says whether the other side takes a descriptor. Raises OSError."""
        lengths = [len(each) for each in buffers]
        if memory and sum(lengths) >= _LEAST_MEMORY_BYTES and self._send_memory(header, buffers, lengths):
            return
        beginning = pack_header(dict(header, buffers=lengths))
        if sum(lengths) < _LEAST_APART_BYTES:
            self.socket.sendall(b"".join([beginning, *buffers]) if buffers else beginning)
            return
        self.socket.sendall(beginning)
        for each in buffers:
            self.socket.sendall(each)

    def _fill_memory(self, buffers, places, size):
        """Return memory that holds the buffers: that which was given back where they fit. Raises OSError."""
        spare, self._spare = self._spare, None
        if spare and not spare.size / 4 <= size <= spare.size:
            spare.close()
            spare = None
        filled = spare or _Memory(size)
        try:
            filled.fill(buffers, places)
            if not self._asks:
                filled.seal(fcntl.F_SEAL_WRITE)
        except BaseException:
            filled.close()
            raise
        return filled

    def _send_memory(self, header, buffers, lengths):
        """Tell whether the frame could be sent with its buffers in memory."""
        places, size = _lay_out(buffers)
        try:
            filled = self._fill_memory(buffers, places, size)
        except (OSError, AttributeError):  # no room for it, or no Linux
            return False
        self.give_back(False)
        self._lent = filled
        beginning = pack_header(dict(header, buffers=lengths, memory=places))
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", filled.descriptor))]
        self.socket.sendall(beginning[self.socket.sendmsg([beginning], beside) :])
        if not self._asks:  # only an asker writes into it again
            self.give_back(False)
        return True

    def give_back(self, is_free):
        """Take back the memory that was sent last, to be written again where it `is_free`."""
        lent, self._lent = self._lent, None
        if lent is None:
            return
        if is_free and self._spare is None and lent.size <= _MOST_SPARE_BYTES:
            self._spare = lent
        else:
            lent.close()

    def close(self):
        """Close the socket, and give back all memory."""
        self.socket.close()
        self.release()
        self.give_back(False)
        if self._spare is not None:
            self._spare.close()
            self._spare = None


def _close(descriptors):
    for each in descriptors:
        os.close(each)
