"""One client's connection: requests are read, let in by the guard, and answered, one after the other.

Python's own server reads requests and headers, with its bounds (64 KiB a line, 100 headers). A client that is
silent for too long is hung up on; what is not read of a body is thrown away, or the connection with it.
"""

from __future__ import annotations

import io
import json
import socket
import time
import traceback
from contextlib import suppress
from http.client import responses
from http.server import BaseHTTPRequestHandler
from typing import BinaryIO, cast

from repro.errors import ReproError, TrackingError
from repro.tracking.server.bodies import Body, open_body
from repro.tracking.server.calls import Call, parse_query
from repro.tracking.server.refusal import Refusal, refuse_error
from repro.tracking.server.replies import EmptyReply, FileReply, JsonReply, Reply, TextReply
from repro.tracking.server.routes import find_deed
from repro.tracking.server.site import Site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

_DRAINED_BYTES = 16 << 20
_DRAIN_S = 5.0
_MAX_TARGET = 16 << 10


class _Patience(io.RawIOBase):
    """What a socket receives, until a deadline, and never silent for long. Raises TimeoutError."""

    def __init__(self, connection: socket.socket, silence_s: float) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self.deadline: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        wait_s = self._silence_s
        if self.deadline is not None:
            wait_s = self.deadline - time.monotonic()
        if wait_s <= 0:
            raise TimeoutError
        self._connection.settimeout(wait_s)
        received = self._connection.recv_into(buffer)
        self._connection.settimeout(self._silence_s)
        return int(received)


class Connection(BaseHTTPRequestHandler):
    """A connection that is served from its making to its end."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, client: str, site: Site) -> None:
        self._client = client
        self._site = site
        self._patience = _Patience(connection, site.patience_s)
        super().__init__(connection, (client, 0), None)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Open the streams."""
        self.connection = self.request
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.settimeout(self._site.patience_s)
        self.rfile = io.BufferedReader(self._patience, 1 << 16)
        self.wfile = io.BytesIO()  # for `100 Continue` alone

    def finish(self) -> None:
        """Leave the socket to who opened it."""

    def handle(self) -> None:
        """Answer requests until the client or the server has had enough."""
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()
            if self._site.is_closing():
                return

    def handle_one_request(self) -> None:
        """Read one request and answer it."""
        self._patience.deadline = time.monotonic() + self._site.patience_s
        self.close_connection = True
        self.command, self.path, self.requestline, self.request_version = "", "", "", "HTTP/1.1"
        try:
            self.raw_requestline = self.rfile.readline(_MAX_TARGET + 1)
            if not self.raw_requestline:
                return
            if len(self.raw_requestline) > _MAX_TARGET:
                self.send_error(414)
            elif self.parse_request():
                self._serve()
        except TimeoutError:
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: what is refused is refused after it."""
        self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that Python's server could not read."""
        self.close_connection = True
        self._send(JsonReply(fields={"error_code": "BAD_REQUEST", "message": message or responses[code]}, status=code))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # Python's name for it
        """Say nothing: `_log` does."""

    def _serve(self) -> None:
        self._patience.deadline = None
        started = time.monotonic()
        body: Body | None = None
        try:
            body = self._open_body()
            reply = self._answer(body)
        except Refusal as refusal:
            fields = {"error_code": refusal.error_code, "message": refusal.message}
            reply = JsonReply(fields=fields, status=refusal.status)
        is_whole = body is not None and (body.is_read or self._skip_small(body))
        self.close_connection = self.close_connection or not is_whole or self._site.is_closing()
        status = self._send(reply)
        if not is_whole:
            self._drain()
        if self._site.log:
            took_ms = (time.monotonic() - started) * 1000
            self._site.log(f"{self._client} {self.command} {self.path[:500]!r} {status} {took_ms:.1f} ms")

    def _open_body(self) -> Body:
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value.strip())
        if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
            raise Refusal("BAD_REQUEST", f"`{self.request_version}` is not spoken here", status=505)
        return open_body(cast("BinaryIO", self.rfile), headers)

    def _answer(self, body: Body) -> Reply:
        """Return what a deed answers. Raises Refusal."""
        target, _, query = self.path.partition("?")
        hosts = self.headers.get_all("Host") or []
        self._site.guard.check(
            path=target,
            host=hosts[0] if len(hosts) == 1 else None,
            origin=self.headers.get("Origin"),
            authorization=self.headers.get("Authorization"),
        )
        match = find_deed(self.command, target)
        call = Call(
            method="GET" if self.command == "HEAD" else self.command,
            places=match.places,
            query=parse_query(query),
            body=body,
        )
        try:
            return match.deed(self._site, call)
        except TrackingError as error:
            raise refuse_error(error) from error
        except TimeoutError as error:
            self.close_connection = True
            raise Refusal("BAD_REQUEST", "the request's body does not arrive", status=408) from error
        except (Refusal, ConnectionError):
            raise
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Refusal:
        """Return what to say of a fault that is the server's own; what it was is for its log."""
        if self._site.log:
            self._site.log("".join(traceback.format_exception(error)).rstrip())
        message = error.message if isinstance(error, ReproError) else f"the server failed ({type(error).__name__})"
        if isinstance(error, OSError):
            message = f"the server's operating system refused: {error.strerror}"
        return Refusal("INTERNAL_ERROR", message)

    def _skip_small(self, body: Body) -> bool:
        """Read away what is left of a body that is nearly read; tell whether the connection can go on."""
        if body.length is None or body.length > 1 << 16:
            return False
        with suppress(Refusal, TimeoutError):
            while body.read():
                pass
        return body.is_read

    def _drain(self) -> None:
        """Let a client that still sends read the answer: a connection closed at once would be reset."""
        deadline = time.monotonic() + _DRAIN_S
        self._patience.deadline = deadline
        left = _DRAINED_BYTES
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (block := self.rfile.read1(1 << 16)):
                left -= len(block)

    def _send(self, reply: Reply) -> int:
        """Send an answer in as few packets as it needs, and return its status."""
        if isinstance(reply, FileReply):
            return self._send_file(reply)
        status, kind, content = 200, "text/plain; charset=utf-8", b""
        if isinstance(reply, JsonReply):
            status, kind = reply.status, "application/json"
            content = json.dumps(reply.fields, separators=(",", ":"), allow_nan=False).encode()
        elif isinstance(reply, TextReply):
            content = reply.text.encode()
        elif not isinstance(reply, EmptyReply):
            raise TypeError(reply)
        extra = ['WWW-Authenticate: Bearer realm="repro"'] if status == 401 else []
        head = self._format_head(status, kind, len(content), extra)
        self.connection.sendall(head if self.command == "HEAD" else head + content)
        return status

    def _format_head(self, status: int, kind: str, length: int, extra: list[str]) -> bytes:
        lines = [
            f"HTTP/1.1 {status} {responses.get(status, '')}",
            "Server: repro",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {kind}",
            f"Content-Length: {length}",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
            f"Connection: {'close' if self.close_connection else 'keep-alive'}",
            *extra,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send_file(self, reply: FileReply) -> int:
        """Send a file as it is now; one that shrinks meanwhile ends the connection, so that the client knows."""
        import mimetypes
        import os
        from urllib.parse import quote

        with open(reply.path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            kind = mimetypes.guess_type(reply.path.name)[0] or "application/octet-stream"
            extra = [
                f"Content-Disposition: attachment; filename*=UTF-8''{quote(reply.path.name, safe='')}",
                "Content-Security-Policy: sandbox",
                "Cross-Origin-Resource-Policy: same-origin",
            ]
            self.connection.sendall(self._format_head(200, kind, length, extra))
            if self.command != "HEAD" and self.connection.sendfile(file, count=length or None) != length:
                self.close_connection = True
        return 200
