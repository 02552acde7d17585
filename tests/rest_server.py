"""A small server of our own for quick tests: answers as a script says, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from servers import CERTIFICATES, LoopbackServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> dict[str, object]:
        """The object of the body."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer; with `drop` none comes, with `cut` half of it."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    cut: bool = False


def say(value: object, status: int = 200, **headers: str) -> Said:
    """Return an answer of JSON."""
    kinds = {"Content-Type": "application/json", **{key.replace("_", "-"): each for key, each in headers.items()}}
    return Said(status=status, body=json.dumps(value).encode(), headers=kinds)


class SmallServer:
    """Answers at a port of loopback."""

    def __init__(self, script: Callable[[Asked], Said], *, tls: bool = False) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                server.connections += 1
                self.number = server.connections
                super().setup()

            def _respond(self) -> None:
                asked = Asked(
                    method=self.command,
                    path=self.path,
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                    connection=self.number,
                )
                server.asked.append(asked)
                said = script(asked)
                if said.drop:
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in {**said.headers, "Content-Length": str(len(said.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body[: len(said.body) // 2] if said.cut else said.body)
                self.close_connection = self.close_connection or said.cut

            def do_GET(self) -> None:
                self._respond()

            def do_POST(self) -> None:
                self._respond()

            def do_PUT(self) -> None:
                self._respond()

            def log_message(self, *args: object) -> None:
                pass

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / "localhost.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def answering(script: Callable[[Asked], Said], *, tls: bool = False) -> Iterator[SmallServer]:
    """Give a server for the block."""
    server = SmallServer(script, tls=tls)
    try:
        yield server
    finally:
        server.close()
