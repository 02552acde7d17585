"""How to get to a server and into it: which certificates are trusted, who to be there, and through which proxy.

What is made here is shared by all threads.
"""

from __future__ import annotations

import base64
import os
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from urllib.parse import SplitResult, unquote, urlsplit

from repro import settings
from repro.errors import UsageError
from repro.snapshots.indexes import Indexes
from repro.snapshots.pins import FetchError
from repro.values import frozen

_PORTS = {"http": 80, "https": 443}
_TIMEOUT_S = 15.0
_RETRIES = 3
_MOST_RETRIES = 10


@frozen
class Origin:
    """A server: scheme, host in lower case, and port (RFC 6454)."""

    scheme: str
    host: str
    port: int


def find_origin(parts: SplitResult) -> Origin:
    """Return the server of a URL. Raises ValueError where it is none over http(s)."""
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("no http or https URL")
    return Origin(scheme=parts.scheme, host=parts.hostname, port=parts.port or _PORTS[parts.scheme])


@frozen
class _Login:
    """The user info of an index URL, which holds for its server, first of all below its path."""

    origin: Origin
    path: str
    user: str
    password: str


def _read_login(url: str) -> _Login | None:
    parts = urlsplit(url)
    user, separator, _ = parts.netloc.rpartition("@")
    if not separator or parts.scheme not in _PORTS:
        return None
    name, _, password = user.partition(":")
    path = parts.path.rstrip("/") + "/"
    return _Login(origin=find_origin(parts), path=path, user=unquote(name), password=unquote(password))


def _find_netrc_login(path: str, host: str) -> tuple[str, str] | None:
    import netrc

    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, ValueError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None


def format_basic(user: str, password: str) -> str:
    """Return the value of an authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Logins:
    """Who to be where: the user info of index URLs, else netrc's."""

    def __init__(self, urls: Iterable[str], *, netrc_path: str) -> None:
        self._logins = [login for url in urls if (login := _read_login(url))]
        self._find_netrc_login = cache(lambda host: _find_netrc_login(netrc_path, host))

    def find(self, url: str) -> str | None:
        """Return the authorization for a URL: of the logins for its server, the one whose path fits best."""
        parts = urlsplit(url)
        origin = find_origin(parts)
        known = [each for each in self._logins if _is_for(each.origin, origin)]
        if known:
            best = max(known, key=lambda each: len(each.path) if parts.path.startswith(each.path) else 0)
            return format_basic(best.user, best.password)
        found = self._find_netrc_login(origin.host)
        return format_basic(*found) if found else None


def _is_for(known: Origin, asked: Origin) -> bool:
    """Tell whether a login may be shown to a server: its own, or the same one where it moved on to https."""
    moved_on = known.scheme == "http" and (known.port, asked.port) == (80, 443) and asked.scheme == "https"
    return known == asked or (moved_on and known.host == asked.host)


def _make_context(indexes: Indexes, *, trusts_all: bool) -> ssl.SSLContext:
    cert = None if trusts_all else indexes.cert
    is_directory = cert is not None and os.path.isdir(cert)
    with _name_unreadable(cert):
        context = ssl.create_default_context(
            cafile=None if is_directory else cert, capath=cert if is_directory else None
        )
    if indexes.client_cert:
        with _name_unreadable(indexes.client_cert):
            context.load_cert_chain(indexes.client_cert)
    if trusts_all:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _name_unreadable(path: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise UsageError(
            f"the certificates in `{path}` cannot be read ({reason})",
            hint="see `cert` and `client-cert` of pip's configuration, PIP_CERT and SSL_CERT_FILE",
        ) from error


class Trust:
    """Which certificates are trusted: the system's, or those named; any of a host that is trusted by name."""

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self._hosts = {host.rpartition("://")[2].rstrip("/").lower() for host in indexes.trusted_hosts}
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def get_context(self, origin: Origin) -> ssl.SSLContext:
        """Return how to trust a server; made once, since reading all certificates takes tens of milliseconds."""
        trusts_all = not self._hosts.isdisjoint({origin.host, f"{origin.host}:{origin.port}"})
        with self._lock:
            if trusts_all not in self._contexts:
                self._contexts[trusts_all] = _make_context(self._indexes, trusts_all=trusts_all)
            return self._contexts[trusts_all]


@frozen
class Proxy:
    """A proxy over http, and what it is shown to let us through."""

    host: str
    port: int
    headers: Mapping[str, str]


def _parse_proxy(text: str) -> Proxy:
    """Return the proxy a text names. Raises FetchError, without showing what may be a password."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme != "http":
            raise ValueError("no http URL")
        origin = find_origin(parts)
    except ValueError as error:
        raise FetchError("the proxy that is named is no http proxy", hint="http_proxy=http://HOST:PORT") from error
    headers = {}
    if parts.username:
        headers["Proxy-Authorization"] = format_basic(unquote(parts.username), unquote(parts.password or ""))
    return Proxy(host=origin.host, port=origin.port, headers=headers)


class Proxies:
    """Which proxy leads to a server: pip's own option for all, else what variables say."""

    def __init__(self, indexes: Indexes, environ: Mapping[str, str]) -> None:
        self._named = indexes.proxy
        self._found = settings.find_proxies(environ)

    def find(self, origin: Origin) -> Proxy | None:
        """Return the proxy for a server, None where it is reached without one. Raises FetchError."""
        if self._named:
            return _parse_proxy(self._named)
        text = self._found.get(origin.scheme) or self._found.get("all")
        if not text:
            return None
        from urllib import request

        is_near = request.proxy_bypass_environment(  # type: ignore[attr-defined] # typeshed does not know it
            f"{origin.host}:{origin.port}", self._found
        )
        return None if is_near else _parse_proxy(text)


class Access:
    """All of that, how long and how often is asked, and whether we have been stopped meanwhile."""

    def __init__(self, indexes: Indexes, environ: Mapping[str, str]) -> None:
        urls = [*indexes.named_urls, *indexes.find_links]
        self.logins = Logins(urls, netrc_path=settings.get_netrc_path(environ))
        self.trust = Trust(indexes)
        self.proxies = Proxies(indexes, environ)
        self.timeout_s = indexes.timeout_s or _TIMEOUT_S
        self.tries = 1 + min(_RETRIES if indexes.retries is None else indexes.retries, _MOST_RETRIES)
        self.stopped = threading.Event()
