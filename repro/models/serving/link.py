"""Speak to a process that holds the model from the server's loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from repro.errors import ModelError
from repro.formats.scoring import Input
from repro.inside.model_channel import pack_header, read_header, read_length
from repro.models.scored import encode_input, read_answer, read_answers
from repro.models.worker_process import Beginning, WorkerLostError, WorkerPlan, refuse_load
from repro.process import exit_code_of, kill_group

_GRACE_S = 5.0
_LOST = (OSError, asyncio.IncompleteReadError, ValueError, RuntimeError)


class WorkerLink:
    """A worker process that has the model; one call at a time."""

    def __init__(self, begun: Beginning) -> None:
        self._plan = begun.plan
        self._process = begun.process
        self._socket = begun.channel.socket
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.ready = begun.ready
        self.wants_frame = True

    async def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        length = read_length(await self._reader.readexactly(8))
        header: dict[str, Any] = read_header(await self._reader.readexactly(length))
        return header, [await self._reader.readexactly(each) for each in header["buffers"]]

    async def _exchange(
        self, header: Mapping[str, object], buffers: Sequence[bytes] = ()
    ) -> tuple[dict[str, Any], list[bytes]]:
        beginning = pack_header({**header, "buffers": [len(each) for each in buffers]})
        try:
            self._writer.writelines([beginning, *buffers])
            await self._writer.drain()
            return await self._receive()
        except _LOST as error:
            self.kill()
            raise WorkerLostError("the worker that had the request has ended") from error

    async def open(self) -> None:
        """Wait until the worker has the model. Raises ModelError."""
        self._socket.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=1 << 20)
        name = self._plan.name
        try:
            answer, _ = await self._receive()
        except _LOST as error:
            self.kill()
            raise ModelError(f"the worker has ended while it loaded `{name}`: {await self.wait()}") from error
        if "error" in answer:
            raise refuse_load(self._plan, answer["error"])
        self.wants_frame = bool(answer["wants_frame"])

    async def predict(
        self, inputs: Sequence[Input], params: Mapping[str, object] | None
    ) -> Sequence[object | Exception]:
        """Ask the model once for each input. Raises WorkerLostError."""
        buffers: list[bytes] = []
        calls = [encode_input(value, buffers) for value in inputs]
        answer, sent = await self._exchange({"op": "score", "calls": calls, "params": params}, buffers)
        if "error" in answer:
            return [read_answer(answer, [])] * len(inputs)
        try:
            return read_answers(answer, sent, len(inputs))
        except ValueError as error:
            self.kill()
            raise WorkerLostError(f"the worker that had the request has sent no answer: {error}") from error

    async def wait(self) -> str:
        """Wait for its end, and say how it ended."""
        loop = asyncio.get_running_loop()
        code = await loop.run_in_executor(None, self._process.wait)
        return f"worker {self._process.pid} has ended with {exit_code_of(code)}"

    def kill(self) -> None:
        """End it at once, with what it has started."""
        kill_group(self._process)

    async def close(self) -> None:
        """Let it end by itself, and make it after a moment."""
        if hasattr(self, "_writer"):
            self._writer.close()
        waiting = asyncio.ensure_future(self.wait())
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), _GRACE_S)
        self.kill()
        await waiting


async def open_worker(begun: Beginning) -> WorkerLink:
    """Return a worker that has the model, of one that loads it. Raises ModelError."""
    link = WorkerLink(begun)
    try:
        await link.open()
    except BaseException:
        link.kill()
        await link.close()
        raise
    return link


async def start_worker(plan: WorkerPlan) -> WorkerLink:
    """Return a worker that has the model. Raises ModelError."""
    begun = Beginning(plan)
    try:
        await asyncio.to_thread(begun.greet)
    except asyncio.CancelledError:
        kill_group(begun.process)  # which its thread hears
        raise
    return await open_worker(begun)
