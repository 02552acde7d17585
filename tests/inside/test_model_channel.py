"""Frames and shared memory: what is sent arrives, what is no frame is refused, and no descriptor is left."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from repro.inside.model_channel import MAGIC, Channel, pack_header

LARGE = 3 << 20
SHRINK, GROW, WRITE = fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Pair:
    """Both ends of a channel; what it opens it closes."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.asker, self.answerer = Channel(ours, asks=True), Channel(theirs, asks=False)
        for each in (ours, theirs):
            each.settimeout(30)

    def close(self) -> None:
        self.asker.close()
        self.answerer.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends; after the test there are as many descriptors as before."""
    before = count_descriptors()
    made = Pair()
    yield made
    made.close()
    assert count_descriptors() == before


def fill(size: int) -> bytes:
    return bytes(range(251)) * (size // 251 + 1)


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the memories that are made during a test."""
    made: list[str] = []
    make = os.memfd_create

    def note(name: str, flags: int) -> int:
        made.append(name)
        return make(name, flags)

    monkeypatch.setattr(os, "memfd_create", note)
    return made


@pytest.mark.parametrize(
    "buffers",
    [[], [b""], [b"abc", b"", b"\0" * 9], [fill(70_000)], [fill(LARGE)], [b"", fill(LARGE), b"x", fill(LARGE)]],
)
@pytest.mark.parametrize("asks", [True, False])
def test_frames_arrive_as_they_were_sent(pair: Pair, buffers: list[bytes], asks: bool) -> None:
    sender, receiver = (pair.asker, pair.answerer) if asks else (pair.answerer, pair.asker)
    for number in range(2):
        sender.send({"id": number, "text": "ä\udc80\ud83d\ude00"}, buffers)
        header, found = receiver.receive()
        assert (header["id"], header["text"]) == (number, "ä\udc80\ud83d\ude00")
        assert [bytes(each) for each in found] == buffers
        assert ("memory" in header) == (sum(map(len, buffers)) >= 1 << 20)
        for each in filter(len, found):
            each[0] = 7  # it may be written
        del found, header
        receiver.release()


def test_who_looks_for_frames_gets_those_that_come_at_once_and_later_and_the_end(pair: Pair) -> None:
    def send() -> None:
        for number in range(4):
            pair.asker.send({"id": number}, [b"abc"])
            if number == 1:
                time.sleep(0.02)  # longer than anybody looks
        pair.asker.socket.close()

    sender = threading.Thread(target=send)
    sender.start()
    assert [pair.answerer.receive(looks=True)[0]["id"] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(EOFError):
        pair.answerer.receive(looks=True)
    sender.join()


def test_frames_that_come_in_one_piece_or_in_several_are_the_same(pair: Pair) -> None:
    frames: list[tuple[dict[str, object], list[bytes]]] = [
        ({"n": 1, "buffers": [3, 0, 20_000]}, [b"abc", b"", fill(20_000)[:20_000]]),
        ({"n": 2, "buffers": []}, []),
        ({"n": 3, "buffers": [5]}, [b"later"]),
    ]
    content = b"".join(part for header, buffers in frames for part in (pack_header(header), *buffers))
    for size in (len(content), 20_003, 4096):
        for at in range(0, len(content), size):
            pair.asker.socket.sendall(content[at : at + size])
        assert [pair.answerer.receive() for _ in frames] == frames


def send_large(sender: Channel, buffers: Sequence[bytes], **options: bool) -> threading.Thread:
    thread = threading.Thread(target=sender.send, args=({}, buffers), kwargs=options)
    thread.start()
    return thread


def test_without_memory_of_linux_large_buffers_go_through_the_socket(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    thread = send_large(pair.asker, [fill(LARGE), b"end"])
    header, found = pair.answerer.receive()
    thread.join()
    assert "memory" not in header
    assert [bytes(each) for each in found] == [fill(LARGE), b"end"]
    assert not pair.answerer.release()


def test_who_takes_no_descriptor_is_sent_none(pair: Pair) -> None:
    thread = send_large(pair.answerer, [fill(20 << 20)], memory=False)
    header, found = pair.asker.receive()
    thread.join()
    assert "memory" not in header
    assert found == [fill(20 << 20)]


def test_without_room_for_memory_large_buffers_go_through_the_socket(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "pwrite", refuse)
    thread = send_large(pair.answerer, [fill(LARGE)])
    header, _ = pair.asker.receive()
    thread.join()
    assert "memory" not in header


def test_memory_that_was_given_back_is_written_again(pair: Pair, memories: list[str]) -> None:
    for size, made in ((LARGE, 1), (LARGE - 9, 1), (2 << 20, 1), (LARGE, 1), (8 << 20, 2), (1 << 20, 3)):
        pair.asker.send({}, [fill(size)])
        found = pair.answerer.receive()[1]
        assert found[0] == fill(size)
        del found
        is_free = pair.answerer.release()
        assert is_free
        pair.asker.give_back(is_free)
        assert len(memories) == made


def test_memory_is_not_written_again_while_somebody_holds_it(pair: Pair, memories: list[str]) -> None:
    pair.asker.send({}, [fill(LARGE), b"x" * 9])
    found = pair.answerer.receive()[1]
    held = memoryview(found[1])  # as an array would
    del found
    assert not pair.answerer.release()
    pair.asker.give_back(False)
    pair.asker.send({}, [b"\xff" * LARGE, b"y" * 9])
    pair.answerer.receive()
    assert held == b"x" * 9
    assert len(memories) == 2


def test_an_answers_memory_is_not_kept_by_who_sent_it(pair: Pair) -> None:
    before = count_descriptors()
    pair.answerer.send({}, [fill(LARGE)])
    assert pair.asker.receive()[1][0] == fill(LARGE)
    assert count_descriptors() == before + 1  # of who reads it
    assert pair.asker.release()
    assert count_descriptors() == before


def test_answers_that_are_kept_take_so_many_descriptors_and_no_more(pair: Pair) -> None:
    before, kept = count_descriptors(), []
    for number in range(70):
        pair.answerer.send({}, [bytes([number]) * (1 << 20), b"end"])
        kept.append(pair.asker.receive()[1])
    assert count_descriptors() == before + 64
    for number, buffers in enumerate(kept):
        assert [bytes(each) for each in buffers] == [bytes([number]) * (1 << 20), b"end"]
        buffers[0][0] = 1


def make_memory(size: int, seals: int) -> int:
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(descriptor, fill(size)[:size])
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def send_raw(sender: Channel, header: object, descriptors: Sequence[int] = ()) -> None:
    text = json.dumps(header).encode()
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))]
    sender.socket.sendmsg([MAGIC + struct.pack("<I", len(text)) + text], beside if descriptors else [])
    for each in descriptors:
        os.close(each)


HALF = {"buffers": [2048, 2048], "memory": [0, 2048]}


def test_an_asker_demands_that_memory_is_sealed(pair: Pair) -> None:
    send_raw(pair.answerer, HALF, [make_memory(4096, SHRINK | GROW)])
    with pytest.raises(ValueError, match="its memory may change"):
        pair.asker.receive()
    send_raw(pair.asker, HALF, [make_memory(4096, SHRINK | GROW)])
    assert pair.answerer.receive()[1][1] == fill(4096)[2048:4096]
    send_raw(pair.answerer, HALF, [make_memory(4096, SHRINK | WRITE)])
    assert pair.asker.receive()[1][0] == fill(2048)[:2048]


def test_memory_that_may_shrink_is_refused(pair: Pair) -> None:
    for sender, receiver in ((pair.asker, pair.answerer), (pair.answerer, pair.asker)):
        send_raw(sender, HALF, [make_memory(4096, GROW | WRITE)])
        with pytest.raises(ValueError, match="its memory may change"):
            receiver.receive()


def test_who_writes_into_memory_writes_into_pages_of_his_own(pair: Pair) -> None:
    descriptor = make_memory(4096, SHRINK | GROW)
    kept = os.dup(descriptor)
    send_raw(pair.asker, HALF, [descriptor])
    found = pair.answerer.receive()[1]
    found[0][0] = found[1][0] = 255
    assert os.pread(kept, 4096, 0) == fill(4096)[:4096]
    os.close(kept)


@pytest.mark.parametrize(
    ("header", "count", "reason"),
    [
        ({"buffers": [4097], "memory": [0]}, 1, "its memory is smaller than its buffers"),
        ({"buffers": [8], "memory": [4090]}, 1, "its memory is smaller than its buffers"),
        ({"buffers": [8], "memory": [-8]}, 1, "its memory is smaller than its buffers"),
        ({"buffers": [8], "memory": [True]}, 1, "its memory is smaller than its buffers"),
        ({"buffers": [8], "memory": [0, 8]}, 1, "its memory is smaller than its buffers"),
        ({"buffers": [8, 8], "memory": [0]}, 1, "its memory is smaller than its buffers"),
        ({"buffers": [8], "memory": [0]}, 0, "it has no memory"),
        ({"buffers": [8], "memory": [0]}, 2, "it has no memory"),
        ({"buffers": [8], "memory": {}}, 1, "it has no memory"),
        ({"buffers": [-1]}, 0, "it does not say how long its buffers are"),
        ({"buffers": [True]}, 0, "it does not say how long its buffers are"),
        ({"buffers": 8}, 1, "it does not say how long its buffers are"),
        ({}, 1, "it does not say how long its buffers are"),
        ([], 3, "it does not say how long its buffers are"),
        ({"buffers": [1 << 36, 1]}, 0, "it promises 68719476737 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused(pair: Pair, header: object, count: int, reason: str) -> None:
    send_raw(pair.answerer, header, [make_memory(4096, SHRINK | WRITE) for _ in range(count)])
    with pytest.raises(ValueError) as caught:
        pair.asker.receive()
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"RPM2\2\0\0\0{}", "it is no frame"),
        (b"RPM1\xff\xff\xff\xff", "it is no frame"),
        (b"RPM1\3\0\0\0{,}", "Expecting property name"),
        (b"RPM1\1\0\0\0\xff", "can't decode byte 0xff"),
        (b"RPM1" + struct.pack("<I", 400_000) + b"[" * 400_000, "its header holds others too deep"),
    ],
)
def test_what_has_no_header_is_refused(pair: Pair, content: bytes, reason: str) -> None:
    thread = threading.Thread(target=pair.answerer.socket.sendall, args=(content,))
    thread.start()
    with pytest.raises(ValueError, match=reason):
        pair.asker.receive()
    thread.join()


def test_a_descriptor_of_something_else_is_refused(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    send_raw(pair.answerer, HALF, [os.open(path, os.O_RDWR)])
    with pytest.raises(OSError, match="Invalid argument"):
        pair.asker.receive()


def test_a_descriptor_that_nobody_asked_for_is_closed(pair: Pair) -> None:
    before = count_descriptors()
    send_raw(pair.answerer, {"buffers": []}, [make_memory(16, 0), make_memory(16, 0)])
    assert pair.asker.receive() == ({"buffers": []}, [])
    assert count_descriptors() == before


def test_a_frame_that_stops_ends_in_an_end_of_file() -> None:
    frame = pack_header({"buffers": [3, 2]}) + b"abcde"
    before = count_descriptors()
    for end in range(len(frame)):
        pair = Pair()
        pair.answerer.socket.sendall(frame[:end])
        pair.answerer.close()
        with pytest.raises(EOFError):
            pair.asker.receive()
        pair.close()
    assert count_descriptors() == before


def test_a_descriptor_that_came_with_half_a_frame_is_closed(pair: Pair) -> None:
    before = count_descriptors()
    pair.answerer.socket.sendmsg([b"RPM"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))])
    pair.asker.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        pair.asker.receive()
    assert count_descriptors() == before


def test_memory_is_not_taken_for_what_is_only_promised(pair: Pair) -> None:
    pair.answerer.socket.sendall(pack_header({"buffers": [32 << 30]}) + b"x" * 100)
    pair.answerer.close()
    tracemalloc.start()
    with pytest.raises(EOFError):
        pair.asker.receive()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


@given(st.binary(max_size=40), st.sampled_from([b"", MAGIC, MAGIC + b"\x10\0\0\0", pack_header({"buffers": [4, 9]})]))
def test_any_bytes_are_a_frame_or_an_error(content: bytes, beginning: bytes) -> None:
    pair = Pair()
    pair.answerer.socket.sendall(beginning + content)
    pair.answerer.close()
    try:
        _, found = pair.asker.receive()
    except (EOFError, ValueError):
        pass
    else:
        assert b"".join(found) == content[:13]
    finally:
        pair.close()


ECHO = """
import importlib.util, os, socket, sys
spec = importlib.util.spec_from_file_location("model_channel", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
frames = module.Channel(socket.socket(fileno=int(sys.argv[2])), asks=False)
while True:
    try:
        header, buffers = frames.receive()
    except EOFError:
        break
    said = [bytes(each)[::-1] for each in buffers]
    buffers = None
    free = frames.release()
    frames.send({"free": free, "descriptors": len(os.listdir("/proc/self/fd"))}, said)
"""


def test_another_process_answers_and_keeps_no_descriptor(memories: list[str]) -> None:
    before = count_descriptors()
    ours, theirs = socket.socketpair()
    command = [
        sys.executable,
        "-I",
        "-c",
        ECHO,
        str(REPOSITORY / "repro/inside/model_channel.py"),
        str(theirs.fileno()),
    ]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    frames, seen = Channel(ours, asks=True), set()
    for size in (10, LARGE, LARGE, 64 << 20, 10):
        sent = fill(size)[:size]
        frames.send({}, [sent, b"ab"])
        header, found = frames.receive()
        assert [bytes(each) for each in found] == [sent[::-1], b"ba"]
        assert header["free"] == (size >= LARGE)
        frames.give_back(header["free"])
        seen.add(header["descriptors"])
    assert len(memories) == 2  # one for the first two, a larger one
    assert len(seen) == 1
    frames.close()
    assert process.wait(30) == 0
    assert count_descriptors() == before
