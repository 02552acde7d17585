"""A proxy before a real server, which fails as a test says: it drops answers, cuts them off, delays, and refuses."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import time
from collections.abc import Callable
from enum import Enum, auto

from servers import LoopbackServer


class Fault(Enum):
    """What happens to one request."""

    DROP_ANSWER = auto()
    """The server has acted, and its answer does not come."""
    CUT_ANSWER = auto()
    """The server has acted, and half of its answer comes."""
    DELAY_ANSWER = auto()
    """The server has acted, and its answer comes after `delay_s`."""
    DROP_REQUEST = auto()
    ERROR = auto()
    """500, and the server was not asked."""
    ERROR_AFTER = auto()
    """502, and the server has acted."""
    LIMIT = auto()
    """429 with Retry-After, and the server was not asked."""


Script = Callable[[str, str], "Fault | None"]


def never(method: str, path: str) -> Fault | None:
    """Let everything through."""
    return None


class FaultyProxy:
    """Forwards to one port of loopback; `script` gets method and path of each request, and says its fault."""

    def __init__(self, port: int) -> None:
        self.script: Script = never
        self.seen: list[tuple[str, str, Fault | None]] = []
        self.delay_s = 2.0
        self.retry_after = "1"
        self.is_down = False
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = Fault.DROP_REQUEST if proxy.is_down else proxy.script(self.command, self.path)
                proxy.seen.append((self.command, self.path.partition("?")[0], fault))
                if fault is Fault.DROP_REQUEST:
                    self.close_connection = True
                    return
                if fault is Fault.ERROR:
                    self._answer(500, b"<html>oops</html>", {})
                    return
                if fault is Fault.LIMIT:
                    self._answer(429, b"", {"Retry-After": proxy.retry_after})
                    return
                status, answer, headers = proxy._ask(port, self.command, self.path, body, dict(self.headers))
                if fault is Fault.DROP_ANSWER:
                    self.close_connection = True
                    return
                if fault is Fault.DELAY_ANSWER:
                    time.sleep(proxy.delay_s)
                if fault is Fault.ERROR_AFTER:
                    status, answer = 502, b"bad gateway"
                with contextlib.suppress(OSError):
                    self._answer(status, answer, headers, cut=fault is Fault.CUT_ANSWER)

            def do_GET(self) -> None:
                self._forward()

            def do_POST(self) -> None:
                self._forward()

            def do_PUT(self) -> None:
                self._forward()

            def _answer(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection = self.close_connection or cut

            def log_message(self, *args: object) -> None:
                pass

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _ask(
        self, port: int, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        connection.request(method, path, body=body or None, headers=kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, {"Content-Type": answer.headers.get("Content-Type", "text/plain")}

    def count(self, method: str, end: str) -> int:
        """Return how often an endpoint was asked."""
        return sum(each[0] == method and each[1].endswith(end) for each in self.seen)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def fail_some(method: str, end: str, fault: Fault, *, every: int = 1, most: int = 1_000_000) -> Script:
    """Return a script: of the requests to an endpoint every so many-th fails, so many at most."""
    count = failed = 0

    def script(asked: str, path: str) -> Fault | None:
        nonlocal count, failed
        if asked != method or end not in path.partition("?")[0]:
            return None
        count += 1
        if count % every or failed >= most:
            return None
        failed += 1
        return fault

    return script
