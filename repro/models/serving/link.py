"""Speak to a worker process (`inside/model_score.py`) from the server's loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from repro import settings
from repro.errors import ModelError
from repro.formats.scoring import Array, Frame, FrameColumn, Input, Parquet, ScoringError
from repro.models.serving.served import WorkerLostError
from repro.process import exit_code_of, kill_group, start_guest

_SCRIPT = str(Path(__file__).resolve().parents[2] / "inside" / "model_score.py")
_MAGIC = b"RPM1"
_GRACE_S = 5.0
_MOST_HEADER_BYTES = 256 << 20
_MOST_BUFFER_BYTES = 8 << 30
_FORMATS = {
    "<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "<i2": "h", "|i1": "b", "|b1": "?",
    "<u8": "Q", "<u4": "I", "<u2": "H", "|u1": "B",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What a worker is: the interpreter, its environment's prefix where that is a restored one, and the model."""

    python: str
    directory: Path
    flavors: Mapping[str, object]
    name: str
    environ: Mapping[str, str]
    prefix: str | None = None


def _encode_values(values: bytes | list[object], dtype: str, buffers: list[bytes]) -> dict[str, object]:
    if isinstance(values, bytes):
        buffers.append(values)
        return {"dtype": dtype, "buffer": len(buffers) - 1}
    if any(isinstance(value, bytes) for value in values):
        texts = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in values]
        return {"dtype": dtype, "values": texts, "bytes": True}
    return {"dtype": dtype, "values": values}


def _encode_column(column: FrameColumn, buffers: list[bytes]) -> dict[str, object]:
    return {"name": column.name, **_encode_values(column.values, column.dtype, buffers)}


def encode_input(value: Input, buffers: list[bytes]) -> dict[str, object]:
    """Return an input as a worker reads it; what belongs beside it is added to `buffers`."""
    if isinstance(value, Array):
        return {"kind": "array", "shape": value.shape, **_encode_values(value.values, value.dtype, buffers)}
    if isinstance(value, Frame):
        columns = [_encode_column(column, buffers) for column in value.columns]
        index = {} if value.index is None else {"index": value.index}
        return {"kind": "frame", "columns": columns, "rows": value.rows, **index}
    if isinstance(value, Parquet):
        buffers.append(value.content)
        return {"kind": "parquet", "buffer": len(buffers) - 1}
    if isinstance(value, dict) and any(isinstance(each, Array) for each in value.values()):
        return {"kind": "dict", "items": {name: encode_input(each, buffers) for name, each in value.items()}}
    return {"kind": "plain", "value": value}


def _read_array(tree: Mapping[str, Any], buffers: Sequence[bytes]) -> object:
    """Return nested lists; a memoryview makes them of one or two axes at once."""
    shape = tuple(tree["shape"])
    flat = memoryview(buffers[tree["buffer"]]).cast(cast("Any", _FORMATS[tree["dtype"]]))
    if 0 in shape:
        return [] if shape[0] == 0 else [[] for _ in range(shape[0])]
    return cast("Any", memoryview(flat.cast("B"))).cast(_FORMATS[tree["dtype"]], shape).tolist()


def read_answer(tree: Mapping[str, Any], buffers: Sequence[bytes]) -> object | Exception:
    """Return a call's answer as JSON can say it, or the error that the model has raised."""
    if "error" in tree:
        error = tree["error"]
        return ScoringError(
            "Encountered an unexpected error while evaluating the model. Verify that the input is compatible with the "
            f"model for inference. {error['type']}: {error['message']}"[:4000]
        )
    if "array" in tree:
        return _read_array(tree["array"], buffers)
    return cast("object", json.loads(buffers[tree["json"]]))


class WorkerLink:
    """A worker process that has the model; one call at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ended: asyncio.Future[str] | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.ready: Mapping[str, Any] = {}
        self.wants_frame = True

    async def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        head = await self._reader.readexactly(8)
        (length,) = struct.unpack("<I", head[4:])
        if head[:4] != _MAGIC or length > _MOST_HEADER_BYTES:
            raise asyncio.IncompleteReadError(head, 8)
        header = json.loads(await self._reader.readexactly(length))
        lengths = header.get("buffers", [])
        if sum(lengths) > _MOST_BUFFER_BYTES:
            raise asyncio.IncompleteReadError(b"", length)
        return header, [await self._reader.readexactly(each) for each in lengths]

    async def _exchange(self, header: dict[str, object], buffers: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        text = json.dumps({**header, "buffers": [len(each) for each in buffers]}).encode()
        try:
            self._writer.writelines([_MAGIC, struct.pack("<I", len(text)), text, *buffers])
            await self._writer.drain()
            return await self._receive()
        except (OSError, asyncio.IncompleteReadError, ValueError, RuntimeError) as error:
            self.kill()
            raise WorkerLostError("the worker that had the request has ended") from error

    async def open(self, ours: socket.socket, plan: WorkerPlan) -> None:
        """Hear that the worker is the one meant, and let it load the model. Raises ModelError and WorkerLostError."""
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        try:
            self.ready, _ = await self._receive()
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise ModelError(f"`{plan.python}` has started no worker: {await self.wait()}") from error
        if plan.prefix is not None and not Path(self.ready["prefix"]).samefile(plan.prefix):
            raise ModelError(f"the worker runs in `{self.ready['prefix']}` and not in `{plan.prefix}`")
        load: dict[str, object] = {"op": "load", "directory": str(plan.directory), "flavors": plan.flavors}
        try:
            answer, _ = await self._exchange(load, [])
        except WorkerLostError as error:
            raise ModelError(f"the worker has ended while it loaded `{plan.name}`: {await self.wait()}") from error
        if error_ := answer.get("error"):
            where = "the restored environment" if plan.prefix else f"the environment of `{plan.python}`"
            raise ModelError(
                f"`{plan.name}` cannot be loaded in {where}: {error_['type']}: {error_['message']}",
                hint=None if plan.prefix else "`--restore` serves it in the environment that it names",
            )
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
        return [read_answer(tree, sent) for tree in answer["answers"]]

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


async def start_worker(plan: WorkerPlan) -> WorkerLink:
    """Return a worker that has the model. Raises ModelError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            args = [plan.python, "-I", _SCRIPT, str(theirs.fileno())]
            process = start_guest(args, env=settings.make_worker_environment(plan.environ), pass_fds=(theirs.fileno(),))
    except OSError as error:
        ours.close()
        raise ModelError(f"`{plan.python}` cannot be started ({error.strerror})") from error
    link = WorkerLink(process)
    ours.setblocking(False)
    try:
        await link.open(ours, plan)
    except BaseException:
        link.kill()
        await link.close()
        raise
    return link
