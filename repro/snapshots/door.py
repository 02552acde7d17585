"""Ask servers over HTTP: connections that are kept open, redirects, and another try where it may help."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import IO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import repro
from repro.formats.direct_url import clean_url
from repro.formats.redaction import redact
from repro.snapshots.access import Access, Origin, Proxy, find_origin
from repro.snapshots.pins import FetchError, IndexUnreachableError
from repro.values import frozen

LARGEST_BYTES = 1 << 28
"""How much of an answer is held in memory."""
_CONNECT_TIMEOUT_S = 10.0
_BACKOFF_S = 0.25
_LONGEST_WAIT_S = 20.0
_REDIRECTS = 10
_BLOCK_BYTES = 1 << 16
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_REDIRECTIONS = (301, 302, 303, 307, 308)
_CLOSED_MEANWHILE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
_WITHOUT_HOPE = (ssl.SSLCertVerificationError, socket.gaierror, ConnectionRefusedError)
_AGENT = f"repro/{repro.__version__}"


@frozen
class Response:
    """What a server answered; header names are in lower case, `url` is where redirects have led."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


def _format_target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:+~!$&'()*,;=@")
    return f"{path}?{quote(parts.query, safe='/%:+~!$&()*,;=@?')}" if parts.query else path


def _read_body(answer: http.client.HTTPResponse, into: IO[bytes] | None, url: str) -> bytes:
    """Read an answer to its end, what was asked for into a file where there is one."""
    if into and answer.status in (200, 206):
        into.seek(0)
        into.truncate()
        while block := answer.read(_BLOCK_BYTES):
            into.write(block)
        body = b""
    else:
        body = answer.read(LARGEST_BYTES + 1)
        if len(body) > LARGEST_BYTES:
            raise FetchError(f"`{clean_url(url)}` answers with more than {LARGEST_BYTES >> 20} MiB")
    if answer.length:  # http.client does not mind an end before the end
        raise http.client.IncompleteRead(body, answer.length)
    return body


class Door:
    """One request at a time; its connections stay open, by server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._open: dict[Origin, http.client.HTTPConnection] = {}

    def _connect(self, origin: Origin, proxy: Proxy | None) -> http.client.HTTPConnection:
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        timeout = min(self._access.timeout_s, _CONNECT_TIMEOUT_S)
        connection: http.client.HTTPConnection
        if origin.scheme == "https":
            context = self._access.trust.get_context(origin)
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
            if proxy:
                connection.set_tunnel(origin.host, origin.port, headers=dict(proxy.headers))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.connect()
        connection.sock.settimeout(self._access.timeout_s)
        return connection

    def _drop(self, origin: Origin) -> None:
        if connection := self._open.pop(origin, None):
            connection.close()

    def _exchange(self, url: str, headers: Mapping[str, str], into: IO[bytes] | None) -> Response:
        """Ask once; a connection that the server has closed meanwhile is opened again."""
        parts = urlsplit(url)
        origin = find_origin(parts)
        proxy = self._access.proxies.find(origin)
        target = _format_target(parts)
        sent = {"User-Agent": _AGENT, **headers}
        if login := self._access.logins.find(url):
            sent["Authorization"] = login
        if proxy and origin.scheme == "http":
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
            sent |= proxy.headers
        is_old = origin in self._open
        try:
            if not is_old:
                self._open[origin] = self._connect(origin, proxy)
            connection = self._open[origin]
            connection.request("GET", target, headers=sent)
            answer = connection.getresponse()
            body = _read_body(answer, into, url)
        except BaseException as error:
            self._drop(origin)
            if is_old and isinstance(error, _CLOSED_MEANWHILE):
                return self._exchange(url, headers, into)
            raise
        if answer.will_close:
            self._drop(origin)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Response(status=answer.status, headers=found, body=body, url=url)

    def _try(self, url: str, headers: Mapping[str, str], into: IO[bytes] | None) -> Response:
        """Ask until there is an answer that will stay so. Raises IndexUnreachableError and FetchError."""
        for tried in range(self._access.tries):
            wait_s = _BACKOFF_S * 2**tried
            try:
                response = self._exchange(url, headers, into)
            except http.client.InvalidURL as error:
                raise FetchError(f"`{clean_url(url)}` cannot be asked for: it is no URL") from error
            except (OSError, http.client.HTTPException) as error:
                reason = " ".join(redact(str(error)).split())[:200] or type(error).__name__
                failure = IndexUnreachableError(f"`{clean_url(url)}` cannot be reached ({reason})")
                if isinstance(error, _WITHOUT_HOPE):
                    raise failure from error
            except ValueError as error:
                raise FetchError(f"`{clean_url(url)}` cannot be asked for: it is no URL") from error
            else:
                if response.status not in _TRY_AGAIN:
                    return response
                failure = IndexUnreachableError(f"`{clean_url(url)}` cannot be reached (HTTP {response.status})")
                wait_s = _wait_for(response, wait_s)
            if tried + 1 < self._access.tries and self._access.stopped.wait(wait_s):
                break
        raise failure

    def get(self, url: str, headers: Mapping[str, str], *, into: IO[bytes] | None = None) -> Response:
        """Return the answer for a URL, what is at it in `into` where that is given.

        Redirects are followed, credentials stay with their server, and what fails for the moment is asked for again.
        Raises IndexUnreachableError where that does not help, and FetchError.
        """
        for _ in range(_REDIRECTS):
            response = self._try(url, headers, into)
            if response.status not in _REDIRECTIONS or "location" not in response.headers:
                return response
            try:
                url = urljoin(url, response.headers["location"])
                find_origin(urlsplit(url))
            except ValueError as error:
                raise FetchError(f"`{clean_url(response.url)}` leads to what is no http or https URL") from error
        raise FetchError(f"`{clean_url(url)}` leads from one place to another without end")

    def close(self) -> None:
        """Close what is open."""
        for origin in list(self._open):
            self._drop(origin)

    def interrupt(self) -> None:
        """End what another thread is waiting for."""
        for connection in list(self._open.values()):
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)


def _wait_for(response: Response, otherwise_s: float) -> float:
    """Return the seconds to wait: what the server asks for within reason, else longer each time."""
    asked = response.headers.get("retry-after", "").strip()
    return min(float(asked) if asked.isdigit() else otherwise_s, _LONGEST_WAIT_S)
