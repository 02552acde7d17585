"""The socket that the REST API is served on: bound at once, and nothing more until a client connects.

A thread waits for connections, each gets a thread of its own. What speaks HTTP and what answers is imported at the
first connection, so that an endpoint nobody uses costs a bound socket and a waiting thread.
"""

from __future__ import annotations

import _socket  # what `socket` is made of, which takes 2 ms to import: a connection alone needs it
import threading
import time
from contextlib import suppress

from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from repro.tracking.file_store import FileStore
    from repro.tracking.server.site import Site

_MAX_CONNECTIONS = 256
_MAX_PORT = 65_535
_BACKLOG = 128
_GRACE_S = 5.0
_PATIENCE_S = 120.0


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(listener: _socket.socket, host: str, port: int) -> None:
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    if listener.family == _socket.AF_INET6:
        listener.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)


def _open_listener(host: str, port: int) -> _socket.socket:
    """Return a listening socket as the operating system has it. Raises UsageError."""
    if not 0 <= port <= _MAX_PORT:
        raise UsageError(f"`{port}` is no port", hint=f"0 to {_MAX_PORT}, and 0 takes one that is free")
    listener = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM)
    try:
        _listen(listener, host, port)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"`{host}` port {port} cannot be listened on ({error.strerror})",
            hint="`--port 0` takes a port that is free",
        ) from error
    return listener


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises UsageError."""
    import socket

    return socket.socket(fileno=_open_listener(host, port).detach())


def _open_connection(descriptor: int) -> socket.socket:
    import socket

    return socket.socket(fileno=descriptor)


class Endpoint:
    """A server that runs in threads of this process until it is closed.

    `uri` is the tracking URI for clients. After a fork only the parent serves.
    """

    def __init__(self, listener: _socket.socket, host: str, make_site: Callable[[Endpoint], Site]) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.host = host
        self._make_site = make_site
        self._site: Site | None = None
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self.is_closing = False
        self._thread = threading.Thread(target=self._accept, name="repro-server", daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        """Where clients find it, e.g. `http://127.0.0.1:5000`."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def _accept(self) -> None:
        while not self.is_closing:
            try:
                descriptor, address = self._listener._accept()  # type: ignore[attr-defined]
            except OSError:
                if self.is_closing:
                    return
                time.sleep(0.05)  # no descriptor is free: one will be
                continue
            connection = _open_connection(descriptor)
            if self.is_closing or len(self._connections) >= _MAX_CONNECTIONS:
                connection.close()
                continue
            self._start(connection, str(address[0]))

    def _start(self, connection: socket.socket, client: str) -> None:
        thread = threading.Thread(target=self._serve, args=(connection, client), name="repro-client", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError:  # no thread can be had
            self._forget(connection)

    def _serve(self, connection: socket.socket, client: str) -> None:
        try:
            from repro.tracking.server.connection import Connection

            Connection(connection, client, self._get_site())
        except OSError:
            pass  # the client went away
        finally:
            self._forget(connection)

    def _get_site(self) -> Site:
        with self._lock:
            if self._site is None:
                self._site = self._make_site(self)
            return self._site

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
        connection.close()

    def close(self) -> None:
        """Take no more connections, let what is being answered end (5 s at most), and return."""
        if self.is_closing:
            return
        self.is_closing = True
        with suppress(OSError):
            self._listener.shutdown(_socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()
        self._thread.join(_GRACE_S)
        with self._lock:
            waiting = dict(self._connections)
        for connection in waiting:
            with suppress(OSError):
                connection.shutdown(_socket.SHUT_RD)  # no more requests: who waits for one ends
        deadline = time.monotonic() + _GRACE_S
        for thread in waiting.values():
            thread.join(max(0.0, deadline - time.monotonic()))


def _find_own_names(host: str) -> frozenset[str]:
    """Return by which names clients may call a server, beside an address in digits."""
    names = {"localhost", host.lower()}
    if not is_loopback(host):
        names.add(_socket.gethostname().lower())
    return frozenset(names)


def serve_in_background(
    store: FileStore,
    *,
    token: str | None,
    allowed_run: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    allowed_hosts: tuple[str, ...] = (),
    patience_s: float = _PATIENCE_S,
    log: Callable[[str], None] | None = None,
) -> Endpoint:
    """Serve a store in threads of this process and return where; port 0 is one that is free.

    With `allowed_run` clients may change that run, and runs that they make here, but no other. `allowed_hosts` are
    further names in a request's Host, `patience_s` is how long a silent client is waited for. `log` gets a line for
    each request. Raises UsageError for a place that cannot be listened on, and for one that others reach without a
    `token`.
    """
    if not token and not is_loopback(host):
        raise UsageError(
            f"others than this machine reach `{host}`: a server there needs a token",
            hint="`--token-file FILE`, or the variable MLFLOW_TRACKING_TOKEN, which clients read too",
        )

    def make_site(endpoint: Endpoint) -> Site:
        from repro.tracking.server.guard import Guard
        from repro.tracking.server.permit import Permit
        from repro.tracking.server.site import Site

        names = _find_own_names(host) | {each.lower() for each in allowed_hosts}
        return Site(
            store=store,
            guard=Guard(names=frozenset(names), token=token),
            permit=Permit(allowed_run),
            log=log,
            is_closing=lambda: endpoint.is_closing,
            patience_s=patience_s,
        )

    return Endpoint(_open_listener(host, port), host, make_site)
