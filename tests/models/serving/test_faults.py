"""Many clients, some of them hostile, while workers are killed: every good request is answered, and none wrongly.

A few seconds with every test, and the minute of the acceptance with scripts/test-all.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tiny_models import make_model

pytestmark = pytest.mark.faults

IS_LONG = bool(os.environ.get("REPRO_TEST_ALL"))
SECONDS = 60.0 if IS_LONG else 5.0
SETTLED_S = 10.0 if IS_LONG else 1.0
CLIENTS = 64
HOSTILE_EVERY = 8
ADDS = """
class Adder:
    def predict(self, data, params=None):
        rows = list(zip(data["a"], data["b"])) if isinstance(data, dict) else data.to_numpy().tolist()
        return [a + b for a, b in rows]
def _load_pyfunc(path):
    return Adder()
"""
SIGNATURE = {"inputs": [{"name": name, "type": "double"} for name in "ab"]}
GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: evil.example.org\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 5\r\n\r\n{{{{{",
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"A" * 100_000,
]


@dataclass
class Tally:
    """What came back."""

    right: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Connection:
    """One keep-alive connection, opened again whenever the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):
                await streams[1].wait_closed()

    async def ask(self, content: bytes) -> tuple[int, bytes]:
        reader, writer = await self.open()
        head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        writer.write(f"{head}{len(content)}\r\n\r\n".encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        status, fields = int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            await self.close()
        return status, body


async def ask_well(connection: Connection, tally: Tally) -> None:
    rows = [[random.random(), random.randrange(1000)] for _ in range(random.choice((1, 1, 1, 3, 50)))]
    try:
        content = json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": rows}}).encode()
        status, body = await asyncio.wait_for(connection.ask(content), 30)
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        await connection.close()
        tally.wrong.append(f"no answer: {error!r}")
        return
    if status == 200:
        if json.loads(body)["predictions"] == [a + b for a, b in rows]:
            tally.right += 1
        else:
            tally.wrong.append(f"{rows} -> {body[:200]!r}")
    elif status in (503, 504) and body:
        tally.refused[status] += 1
    else:
        tally.wrong.append(f"{status} {body[:200]!r}")


async def ask_badly(port: int) -> None:
    """Send garbage, or a body that never ends, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError, asyncio.TimeoutError):
        deed = random.randrange(len(GARBAGE) + 2)
        if deed < len(GARBAGE):
            writer.write(GARBAGE[deed])
            await asyncio.wait_for(reader.read(1 << 16), 1)
        elif deed == len(GARBAGE):
            writer.write(b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            await asyncio.sleep(0.5)
        else:
            large = 2 << 20
            writer.write(f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {large}\r\n\r\n".encode())
            writer.write(b"[" * large)
            await asyncio.wait_for(reader.read(1 << 16), 2)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@contextmanager
def served(model: Path, cache: Path) -> Iterator[tuple[int, int]]:
    """Yield the process and the port of a server with two workers."""
    command = [
        sys.executable, "-m", "repro", "serve", str(model), "-p", "0", "--workers", "2", "--timeout", "10",
        "--max-body", "1M", "--python", sys.executable, "--cache", str(cache),
    ]  # fmt: skip
    with (
        (cache / "said.txt").open("w") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            yield server.pid, int(server.stdout.readline().rsplit(":", 1)[1])
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()


def list_workers(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def run_for(seconds: float, deed: Callable[[], Awaitable[None]]) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await deed()


async def attack(pid: int, port: int, tally: Tally) -> tuple[int, int, int]:
    """Return how many workers were killed, and the server's memory when it had settled and in the end."""
    killed = 0

    async def kill() -> None:
        nonlocal killed
        await asyncio.sleep(random.uniform(0.3, 1.0))
        if workers := list_workers(pid):
            with suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)
                killed += 1

    async def look() -> int:
        await asyncio.sleep(SETTLED_S)
        return read_memory(pid)

    async def keep_asking(number: int) -> None:
        if number % HOSTILE_EVERY == 0:
            return await run_for(SECONDS, lambda: ask_badly(port))
        connection = Connection(port)
        await run_for(SECONDS, lambda: ask_well(connection, tally))
        return await connection.close()

    clients = [keep_asking(number) for number in range(CLIENTS)]
    settled, *_ = await asyncio.gather(look(), run_for(SECONDS, kill), *clients)
    return killed, settled, read_memory(pid)


def test_every_well_formed_request_has_an_answer_and_none_a_wrong_one(tmp_path: Path) -> None:
    model = make_model(tmp_path / "adder", ADDS, signature=SIGNATURE)
    tally = Tally()
    with served(model, tmp_path) as (pid, port):
        killed, settled_kb, last_kb = asyncio.run(attack(pid, port, tally))
    print(f"{tally.right} right, {dict(tally.refused)} refused, {killed} killed, {settled_kb} -> {last_kb} KB")
    assert tally.wrong == []
    assert killed > 2
    assert tally.right > 100
    if IS_LONG:
        assert last_kb <= 1.1 * settled_kb
    assert "Traceback" not in (tmp_path / "said.txt").read_text()
