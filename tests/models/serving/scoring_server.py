"""A server over a scorer in its own process, for the tests of the protocol: scoring_server.py OPTIONS_AS_JSON.

The "model" adds up each row; what its first column holds makes it slow, fail, or answer by the other rows.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys

import uvloop

from repro.formats.scoring import Array, Frame, Parquet, ScoringError
from repro.formats.signature import parse_signature
from repro.models.serving.app import App, Limits
from repro.models.serving.batching import Batcher
from repro.models.serving.door import Door
from repro.models.serving.http import HttpServer
from repro.models.serving.metrics import Metrics
from repro.models.serving.served import Served

CODES = {"<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "|b1": "b"}


def read(dtype, values):
    return values if isinstance(values, list) else memoryview(values).cast(CODES[dtype]).tolist()


def read_rows(value):
    if isinstance(value, Array):
        flat, width = read(value.dtype, value.values), value.shape[-1]
        return [flat[start : start + width] for start in range(0, len(flat), width)]
    return [list(row) for row in zip(*(read(each.dtype, each.values) for each in value.columns), strict=True)]


class AddingScorer:
    """Add up rows; -1 in the first column: fail, -2: sleep, -3: answer something JSON cannot say."""

    workers = 1

    def __init__(self, style):
        self.style = style
        self.is_free = True
        self.wake = lambda: None

    def has_room(self):
        return self.is_free

    def answer(self, value, params):
        if isinstance(value, Parquet):
            return [f"{len(value.content)} bytes of Parquet"]
        if not isinstance(value, Array | Frame):
            return {"got": {key: repr(each) for key, each in value.items()} if isinstance(value, dict) else value}
        rows = read_rows(value)
        if any(row[0] == -1 for row in rows):
            return ScoringError("ValueError: minus one")
        if any(row[0] == -3 for row in rows):
            return {1: object()}
        if self.style == "mean":
            return [sum(map(sum, rows)) / len(rows)] * len(rows)
        if isinstance(value, Frame):
            return [{"sum" if len(row) else "": "".join(map(str, row))} for row in rows]
        return [sum(row) * (params or {}).get("factor", 1) for row in rows]

    async def predict(self, inputs, params):
        self.is_free = False
        try:
            for value in inputs:
                slow = isinstance(value, Array | Frame) and any(row[0] == -2 for row in read_rows(value))
                await asyncio.sleep(1.5 if slow else 0.002)
            return [self.answer(value, params) for value in inputs]
        finally:
            self.is_free = True
            self.wake()


async def main(options):
    metrics = Metrics()
    scorer = AddingScorer(options.get("style"))
    batcher = Batcher(
        scorer, metrics, gather=options.get("gather", True), most_waiting=options.get("most_waiting", 512)
    )
    signature = parse_signature(options["signature"]) if "signature" in options else None
    served = Served(
        name="adder", environment="sha256:abc", signature=signature, wants_frame=options.get("wants_frame", False),
        example=options.get("example"), facts={"lock_digest": "sha256:abc"},
    )  # fmt: skip
    limits = Limits(timeout_s=options.get("timeout_s", 1.0), max_body_bytes=options.get("max_body", 100_000))
    door = Door(names=frozenset({"localhost"}), token=options.get("token"))
    app = App(served, batcher, metrics, door, limits=limits, is_ready=lambda: True, version="0.1.0")
    server = HttpServer(app, timeout_s=limits.timeout_s, grace_s=5)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    await server.run(listener, on_start=lambda: print(port, flush=True))
    await batcher.drain()
    print("ended", flush=True)


uvloop.run(main(json.loads(sys.argv[1])))
