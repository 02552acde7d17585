"""Ask a tracking server over HTTP: one kept connection for each thread, and another try where that is safe.

A call that is `repeatable` gives the same when the server gets it twice, and is sent again whatever has failed. Any
other is sent again only where the server cannot have acted (it could not be reached, or it limits our rate, 429);
elsewhere AnswerLostError says that it may have, and its caller looks before it asks again.
"""

from __future__ import annotations

import http.client
import os
import select
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import BinaryIO
from urllib.parse import quote, urlencode

import repro
from repro.errors import ServerUnavailableError, TrackingError
from repro.tracking.rest.address import Address
from repro.tracking.rest.answers import LARGEST_BYTES, Answer, AnswerLostError, make_refusal, read_object
from repro.tracking.rest.patience import Patience, parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    Query = Mapping[str, str | int] | Sequence[tuple[str, str | int]]

API = "/api/2.0/mlflow/"
_CONNECT_TIMEOUT_S = 10.0
_BLOCK_BYTES = 1 << 18
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class _UnsentError(Exception):
    """The server cannot have got a request; `cause` is why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Kept:
    """A connection that is closed when its thread ends; `owner` is the process that opened it."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.owner = os.getpid()
        self.close = weakref.finalize(self, connection.close)

    def is_usable(self) -> bool:
        """Tell whether the connection is ours (not a parent's) and the server has not closed it."""
        sock = self.connection.sock
        if self.owner != os.getpid() or sock is None:
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)  # there is nothing to be read before we have asked but its end


def _make_context(address: Address) -> ssl.SSLContext:
    """Return which certificates are trusted. Raises TrackingError."""
    import ssl

    named = address.server_cert
    is_dir = named is not None and os.path.isdir(named)
    try:
        context = ssl.create_default_context(cafile=None if is_dir else named, capath=named if is_dir else None)
        if address.client_cert:
            context.load_cert_chain(address.client_cert)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise TrackingError(
            f"the certificates for `{address.uri}` cannot be read ({reason})",
            hint="MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_CLIENT_CERT_PATH name them",
        ) from error
    if address.trusts_all:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Transport:
    """Requests to one server, from any thread and after any fork."""

    def __init__(self, address: Address, *, patience: Patience, timeout_s: float = 60.0) -> None:
        self.address = address
        self.patience = patience
        self._timeout_s = timeout_s
        self._here = threading.local()
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Transport({self.address.uri!r})"

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection of this thread."""
        kept: _Kept | None = self._here.__dict__.pop("kept", None)
        if kept:
            kept.close()

    def _open(self) -> http.client.HTTPConnection:
        address, proxy = self.address, self.address.proxy
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        timeout = min(self._timeout_s, _CONNECT_TIMEOUT_S)
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            self._context = self._context or _make_context(address)
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
            if proxy:
                shown = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
                connection.set_tunnel(address.host, address.port, headers=shown)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _UnsentError(error) from error
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(self._timeout_s)
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        kept: _Kept | None = self._here.__dict__.get("kept")
        if kept is None or not kept.is_usable():
            self.close()
            kept = self._here.kept = _Kept(self._open())
        return kept.connection

    def _make_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        made = {"User-Agent": f"repro/{repro.__version__}", "Accept-Encoding": "identity", **headers}
        if self.address.authorization:
            made["Authorization"] = self.address.authorization
        proxy = self.address.proxy
        if proxy and proxy.authorization and self.address.scheme == "http":
            made["Proxy-Authorization"] = proxy.authorization
        return made

    def _exchange(
        self, method: str, target: str, body: bytes | BinaryIO | None, headers: Mapping[str, str], into: BinaryIO | None
    ) -> Answer:
        """Ask once, what is answered with success in `into` where that is given."""
        target = self.address.path + target
        if self.address.proxy and self.address.scheme == "http":
            target = f"http://{self.address.authority}{target}"
        connection = self._connect()
        try:
            connection.request(method, target, body=body, headers=self._make_headers(headers))
            answer = connection.getresponse()
            content = _read(answer, into if answer.status == 200 else None)
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(status=answer.status, headers=found, body=content)

    def send(
        self,
        method: str,
        target: str,
        *,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
        into: BinaryIO | None = None,
        repeatable: bool = True,
        patience: Patience | None = None,
    ) -> Answer:
        """Return the answer to a request, whatever its status, asked for as often as is safe and the patience says.

        Raises ServerUnavailableError where there is none, AnswerLostError where the server may have acted.
        """
        patience = patience or self.patience
        endpoint = f"{method} {target.partition('?')[0]}"
        tried = 0
        while True:
            tried += 1
            if not isinstance(body, bytes | None):
                body.seek(0)
            asked_s = None
            failure: TrackingError
            try:
                answer = self._exchange(method, target, body, headers or {}, into)
            except _UnsentError as error:
                failure = self._explain(ServerUnavailableError, "cannot be reached", endpoint, error.cause)
            except (OSError, http.client.HTTPException) as error:
                if not repeatable:
                    raise self._explain(AnswerLostError, "gives no whole answer", endpoint, error) from error
                failure = self._explain(AnswerLostError, "gives no whole answer", endpoint, error)
            else:
                if answer.status not in _TRY_AGAIN:
                    return answer
                if answer.status != 429 and not repeatable:
                    refusal = make_refusal(self.address, endpoint, answer)
                    lost = AnswerLostError(refusal.message)
                    lost.error_code = refusal.error_code
                    raise lost
                asked_s = parse_retry_after(answer.headers.get("retry-after"), now_s=time.time())
                failure = make_refusal(self.address, endpoint, answer)
            wait_s = patience.compute_wait_s(tried, asked_s)
            if wait_s is None:
                try:
                    raise failure
                finally:
                    del failure  # its traceback has this frame, which would keep the connection alive
            time.sleep(wait_s)

    def _explain(
        self, kind: type[ServerUnavailableError], what: str, endpoint: str, error: Exception
    ) -> ServerUnavailableError:
        reason = " ".join(self.address.hide_secrets(str(error)).split())[:200] or type(error).__name__
        hint = "MLFLOW_TRACKING_SERVER_CERT_PATH names its certificates" if "CERTIFICATE_VERIFY" in reason else None
        return kind(f"`{self.address.uri}` {what} ({endpoint}: {reason})", hint=hint)

    def call(
        self,
        method: str,
        name: str,
        *,
        query: Query | None = None,
        payload: Mapping[str, object] | bytes | None = None,
        repeatable: bool = True,
        patience: Patience | None = None,
    ) -> dict[str, object]:
        """Return the JSON that an endpoint of the tracking API, e.g. `runs/create`, answers. Raises TrackingError."""
        import json

        target = f"{API}{name}" + (f"?{urlencode(query)}" if query else "")
        body = payload if isinstance(payload, bytes | None) else json.dumps(payload).encode()
        answer = self.send(
            method, target, body=body, headers={"Content-Type": "application/json"} if body else {},
            repeatable=repeatable, patience=patience,
        )  # fmt: skip
        return read_object(self.address, f"{method} {API}{name}", answer)


def quote_path(path: str) -> str:
    """Return a path as a part of a URL."""
    return quote(path, safe="/")


def _read(answer: http.client.HTTPResponse, into: BinaryIO | None) -> bytes:
    """Read an answer to its end. Raises IncompleteRead where it is cut off."""
    body = b""
    if into:
        into.seek(0)
        into.truncate()
        while block := answer.read(_BLOCK_BYTES):
            into.write(block)
    else:
        body = answer.read(LARGEST_BYTES + 1)
        if len(body) > LARGEST_BYTES:
            raise http.client.HTTPException(f"it answers with more than {LARGEST_BYTES >> 20} MiB")
    if answer.length:  # http.client does not mind an end before the end
        raise http.client.IncompleteRead(body, answer.length)
    return body
