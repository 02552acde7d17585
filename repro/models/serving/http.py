"""The HTTP protocol under the application: uvicorn, with bounds on what a silent or wordy client can hold."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from repro.models.serving.app import App

_MOST_HEAD_BYTES = 64 << 10
_MOST_CONNECTIONS = 1000
_SWEEP_S = 0.25


def _format_refusal(status: str, text: str) -> bytes:
    body = f'{{"error_code":"BAD_REQUEST","message":"{text}"}}'.encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + body


_TOO_SLOW = _format_refusal("408 Request Timeout", "the request did not come in time")
_TOO_WORDY = _format_refusal("431 Request Header Fields Too Large", "the head of the request is too large")


class _Protocol(HttpToolsProtocol):
    """Know since when a request is not whole, and refuse heads without an end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waiting_since: float | None = self.loop.time()
        self._is_in_head = True
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > _MOST_HEAD_BYTES and not self.transport.is_closing():
            self.refuse(_TOO_WORDY)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.waiting_since is None:
            self.waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self.waiting_since = None
        super().on_message_complete()

    def refuse(self, answer: bytes) -> None:
        """Answer a request that is not whole, unless an answer is under way, and close."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(answer)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


class _Server(uvicorn.Server):
    """Leave signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serve an application on a socket until it is stopped; `grace_s` is how long answers under way may take then."""

    def __init__(self, app: App, *, timeout_s: float, grace_s: float) -> None:
        self._timeout_s = timeout_s
        config = uvicorn.Config(
            app,
            loop="none",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(grace_s)),
        )
        self._server = _Server(config)

    def stop(self) -> None:
        """Take no more requests and return from `run` when all are answered; a second call does not wait for that."""
        if self._server.should_exit:
            self._server.force_exit = True
        self._server.should_exit = True

    async def _sweep(self) -> None:
        """Refuse the requests that have not come whole in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            late = loop.time() - self._timeout_s
            for connection in list(self._server.server_state.connections):
                since: Any = getattr(connection, "waiting_since", None)
                if since is not None and since < late and isinstance(connection, _Protocol):
                    connection.refuse(_TOO_SLOW)

    async def run(self, listener: socket.socket, *, on_start: Callable[[], None]) -> None:
        """Serve until `stop`."""
        loop = asyncio.get_running_loop()
        sweep = loop.create_task(self._sweep())
        serving = loop.create_task(self._server.serve(sockets=[listener]))
        try:
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.005)
            if not serving.done():
                on_start()
            await serving
        finally:
            sweep.cancel()
