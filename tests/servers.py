"""Servers on loopback that answer as a test says: hostile indexes, ones behind TLS, and proxies."""

from __future__ import annotations

import contextlib
import http.server
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

CERTIFICATES = Path(__file__).resolve().parent.parent / "fixtures" / "certificates"
CERT = CERTIFICATES / "ca.pem"
JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server does with one request.

    `length` is the Content-Length it claims; with `reset` the connection is reset instead of answered, with `hang` it
    stays open without a word.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "text/html"
    length: int | None = None
    delay_s: float = 0.0
    reset: bool = False
    hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked; header names are in lower case."""

    path: str
    headers: Mapping[str, str]


class LoopbackServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """An HTTP server that does not ask for its own name, which can take long."""

    daemon_threads = True

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


class ScriptedServer:
    """Answers each request as `script` says; counts connections and how many requests were open at a time."""

    def __init__(self, script: Callable[[Request], Answer], *, tls: bool = False) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                asked = Request(path=self.path, headers={key.lower(): each for key, each in self.headers.items()})
                with server._lock:
                    server.requests.append(asked)
                    server._now += 1
                    server.most_at_once = max(server.most_at_once, server._now)
                try:
                    self._answer(server.script(asked))
                finally:
                    with server._lock:
                        server._now -= 1

            def _answer(self, answer: Answer) -> None:
                time.sleep(answer.delay_s)
                if answer.hang:
                    server._ended.wait(20)
                if answer.hang or answer.reset:
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()
                    return
                self.send_response(answer.status)
                length = len(answer.body) if answer.length is None else answer.length
                sent = {"Content-Type": answer.kind, "Content-Length": str(length), **answer.headers}
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = self.close_connection or length != len(answer.body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / "localhost.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}/simple/"

    def url_for(self, login: str) -> str:
        """Return the URL of the index with user info."""
        return self.url.replace("://", f"://{login}@")

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


class Proxy:
    """An HTTP proxy: forwards requests that name a whole URL, and opens tunnels (CONNECT); remembers both."""

    def __init__(self, *, login: str | None = None) -> None:
        self.seen: list[str] = []
        self.logins: list[str | None] = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _is_let_in(self) -> bool:
                proxy.seen.append(f"{self.command} {self.path}")
                proxy.logins.append(self.headers["Proxy-Authorization"])
                if login is None or self.headers["Proxy-Authorization"] == login:
                    return True
                self.send_response(407)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def do_GET(self) -> None:
                if not self._is_let_in():
                    return
                parts = urlsplit(self.path)
                connection = http.client.HTTPConnection(parts.netloc, timeout=10)
                headers = {key: each for key, each in self.headers.items() if not key.lower().startswith("proxy-")}
                connection.request("GET", parts.path or "/", headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                connection.close()
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Range"):
                    if answer.headers[name]:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self) -> None:
                if not self._is_let_in():
                    return
                host, _, port = self.path.partition(":")
                with socket.create_connection((host, int(port)), 10) as far:
                    self.send_response(200)
                    self.end_headers()
                    self._pump(far)
                self.close_connection = True

            def _pump(self, far: socket.socket) -> None:
                ends = [self.connection, far]
                while True:
                    for end in select.select(ends, [], [], 10)[0]:
                        content = end.recv(65536)
                        if not content:
                            return
                        ends[1 - ends.index(end)].sendall(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serve(script: Callable[[Request], Answer], *, tls: bool = False) -> Iterator[ScriptedServer]:
    """Give a scripted server for the block."""
    server = ScriptedServer(script, tls=tls)
    try:
        yield server
    finally:
        server.close()


def serve_directory(root: Path) -> Callable[[Request], Answer]:
    """Return a script that answers with the files below `root`, and with a page of links for a directory."""

    def script(request: Request) -> Answer:
        path = root / urlsplit(request.path).path.strip("/")
        if path.is_dir():
            links = "".join(f'<a href="{each.name}">x</a>' for each in sorted(path.iterdir()))
            return Answer(body=links.encode())
        if path.is_file():
            return _answer_with(path.read_bytes(), request.headers.get("range"))
        return Answer(status=404)

    return script


def _answer_with(content: bytes, stated: str | None) -> Answer:
    if not stated:
        return Answer(body=content, kind="application/zip")
    first, _, last = stated.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(len(content) - int(last), 0)
    end = int(last) + 1 if first and last else len(content)
    where = f"bytes {start}-{min(end, len(content)) - 1}/{len(content)}"
    return Answer(status=206, body=content[start:end], headers={"Content-Range": where}, kind="application/zip")
