"""Read package indexes: which files there are of a project, and parts of those files, at most four requests at a time.

Connections are kept open; what fails for the moment is tried again, later each time. A place may be an index (PEP 503,
PEP 691), a page of links or a directory (`--find-links`), each over http(s) or `file:`.
"""

from __future__ import annotations

import base64
import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

from repro.errors import ReproError
from repro.files import BLOCK_BYTES
from repro.formats.direct_url import clean_url
from repro.formats.redaction import redact
from repro.formats.simple_index import HTML_TYPES, JSON_TYPE, IndexFile, parse_html_page, parse_json_page
from repro.snapshots.indexes import Indexes
from repro.snapshots.pins import IndexUnreachableError, Pin

CONCURRENCY = 4
TRIES = 4
TIMEOUT_S = 30.0
_BACKOFF_S = 0.25
_LONGEST_WAIT_S = 20.0
_REDIRECTS = 5
_TAIL_BYTES = 1 << 16
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_ACCEPT = f"{JSON_TYPE}, {HTML_TYPES[0]};q=0.2, text/html;q=0.1"

_CREDENTIALS_HINT = "give the credentials in the index URL or in a netrc file"

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a server answered; header names are in lower case, `url` is where redirects have led."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of each project, by canonical name, and why an index had no part in it."""

    files: Mapping[str, tuple[IndexFile, ...]]
    failures: tuple[str, ...] = ()


class FetchError(ReproError):
    """A file or page cannot be read from where it should be."""


def _make_context(indexes: Indexes, *, trusted: bool) -> ssl.SSLContext:
    if trusted:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        cert = indexes.cert if indexes.cert and os.path.isfile(indexes.cert) else None
        context = ssl.create_default_context(cafile=cert)
    if indexes.client_cert and os.path.isfile(indexes.client_cert):
        context.load_cert_chain(indexes.client_cert)
    return context


def _find_netrc_login(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    import netrc

    path = environ.get("NETRC") or os.path.join(environ.get("HOME") or "/nonexistent", ".netrc")
    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None


class _Keys:
    """What all threads share to get in: how to trust a host, and who to be there."""

    def __init__(self, indexes: Indexes, environ: Mapping[str, str]) -> None:
        self._indexes = indexes
        self._environ = environ
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._logins: dict[str, tuple[str, str] | None] = {}

    def get_context(self, host: str, port: int | None) -> ssl.SSLContext:
        """Return how to trust a host; making one takes 20 ms."""
        trusted = bool({host, f"{host}:{port}"} & set(self._indexes.trusted_hosts))
        if trusted not in self._contexts:
            self._contexts[trusted] = _make_context(self._indexes, trusted=trusted)
        return self._contexts[trusted]

    def find_login(self, host: str) -> tuple[str, str] | None:
        """Return user and password for a host: those of an index URL, else netrc's."""
        if host not in self._logins:
            self._logins[host] = _find_netrc_login(host.partition(":")[0], self._environ)
        return self._logins[host]

    def strip_login(self, url: str) -> str:
        """Return the URL without its user info, which is kept for its host."""
        parts = urlsplit(url)
        user, separator, host = parts.netloc.rpartition("@")
        if not separator:
            return url
        name, _, password = user.partition(":")
        self._logins[host] = (unquote(name), unquote(password))
        return parts._replace(netloc=host).geturl()

    def find_proxy(self, scheme: str, host: str) -> str | None:
        """Return the proxy for a host (`https_proxy`, `no_proxy` and the like; pip's own option first)."""
        from urllib import request

        if request.proxy_bypass(host):
            return None
        proxies = request.getproxies()
        return self._indexes.proxy or proxies.get(scheme) or proxies.get("all")


class _Door:
    """One thread's open connections, by scheme and host."""

    def __init__(self, keys: _Keys) -> None:
        self._keys = keys
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._all: list[http.client.HTTPConnection] = []
        self._is_closed = False

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        parts = urlsplit(f"{scheme}://{netloc}")
        host, port = parts.hostname or "", parts.port
        proxy = self._keys.find_proxy(scheme, host)
        at = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else parts
        connection: http.client.HTTPConnection
        if scheme == "https":
            context = self._keys.get_context(host, port)
            connection = http.client.HTTPSConnection(at.hostname or "", at.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=TIMEOUT_S)
        if proxy and scheme == "https":
            login = f"{unquote(at.username or '')}:{unquote(at.password or '')}"
            headers = {"Proxy-Authorization": _format_basic(login)} if at.username else {}
            connection.set_tunnel(host, port or 443, headers=headers)
        self._all.append(connection)
        return connection

    def _request(self, url: str, headers: Mapping[str, str]) -> Response:
        """Ask once; a connection the server has closed meanwhile is opened again."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        target = quote(parts.path or "/", safe="/%:+~!$&'()*,;=@") + (f"?{parts.query}" if parts.query else "")
        if login := self._keys.find_login(host):
            headers = {**headers, "Authorization": _format_basic(":".join(login))}
        key = parts.scheme, host
        for reused in (key in self._open, False):
            connection = self._open.pop(key, None) or self._connect(*key)
            through = parts.scheme == "http" and self._keys.find_proxy("http", host.partition(":")[0])
            try:
                connection.request("GET", f"http://{host}{target}" if through else target, headers=dict(headers))
                answer = connection.getresponse()
                body = answer.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()
                if reused:
                    continue
                raise
            if not answer.will_close:
                self._open[key] = connection
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(status=answer.status, headers=found, body=body, url=url)
        raise http.client.RemoteDisconnected(f"`{host}` closes every connection")

    def get(self, url: str, headers: Mapping[str, str]) -> Response:
        """Ask, follow redirects (credentials stay with their host), and ask again what fails for the moment."""
        redirects = 0
        tried = 0
        while True:
            tried += 1
            try:
                response = self._request(url, headers)
            except (OSError, http.client.HTTPException) as error:
                if tried >= TRIES or self._is_closed or isinstance(error, ssl.SSLCertVerificationError):
                    raise IndexUnreachableError(
                        f"`{clean_url(url)}` cannot be reached ({redact(str(error)) or type(error).__name__})"
                    ) from error
                time.sleep(_BACKOFF_S * 2 ** (tried - 1))
                continue
            if response.status in (301, 302, 303, 307, 308) and "location" in response.headers:
                redirects += 1
                url = urljoin(url, response.headers["location"])
                if redirects > _REDIRECTS or urlsplit(url).scheme not in ("http", "https"):
                    raise FetchError(f"`{clean_url(url)}` leads from one place to another without end")
            elif response.status in _TRY_AGAIN and tried < TRIES:
                time.sleep(_wait_for(response, tried))
            else:
                return response

    def close(self) -> None:
        """Close what is open, also under a thread that waits for an answer, and ask nothing any more."""
        self._is_closed = True
        for connection in list(self._all):
            if connection.sock:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()


def _format_basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def _wait_for(response: Response, tried: int) -> float:
    """Return the seconds to wait: what the server asks for, else longer each time."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked) if asked.isdigit() else _BACKOFF_S * 2 ** (tried - 1), _LONGEST_WAIT_S)


def find_path(place: str) -> Path | None:
    """Return the path of a place on this machine, None where it is elsewhere."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return None if "://" in place else Path(os.path.expanduser(place))


class _RemoteFile(io.RawIOBase):
    """A file behind a URL as zipfile reads it: its end first, in one request, then what else is asked for."""

    def __init__(self, door: _Door, url: str) -> None:
        self._door = door
        self._url = url
        response = door.get(url, {"Range": f"bytes=-{_TAIL_BYTES}", "Accept-Encoding": "identity"})
        if response.status == 416:  # shorter than its tail, on servers that mind
            response = door.get(url, {"Accept-Encoding": "identity"})
        if response.status not in (200, 206):
            raise FetchError(f"`{clean_url(url)}` cannot be read (HTTP {response.status})")
        self._url = response.url
        total = response.headers.get("content-range", "").rpartition("/")[2]
        self._size = int(total) if response.status == 206 and total.isdigit() else len(response.body)
        self._start = self._size - len(response.body)
        self._tail = response.body
        self._at = 0

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position in bytes."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning of the file")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return bytes from the tail that is there, else ask for them with what follows."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        if self._at >= end:
            return b""
        if self._at < self._start:
            self._fetch(self._at, self._start)
        content = self._tail[self._at - self._start : end - self._start]
        self._at = end
        return content

    def _fetch(self, start: int, end: int) -> None:
        response = self._door.get(self._url, {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"})
        if response.status != 206 or len(response.body) != end - start:
            raise FetchError(f"`{clean_url(self._url)}` cannot be read in parts (HTTP {response.status})")
        self._tail = response.body + self._tail
        self._start = start


class IndexClient:
    """Ask the indexes; usable as a context manager, which closes the connections at the end."""

    def __init__(self, indexes: Indexes, *, environ: Mapping[str, str]) -> None:
        self._indexes = indexes
        self._keys = _Keys(indexes, environ)
        self._local = threading.local()
        self._doors: list[_Door] = []
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="repro-index")

    def __enter__(self) -> IndexClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind and not issubclass(kind, Exception):  # ctrl-C waits for no download
            for door in self._doors:
                door.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for door in self._doors:
            door.close()

    def _get_door(self) -> _Door:
        door = getattr(self._local, "door", None)
        if door is None:
            door = self._local.door = _Door(self._keys)
            self._doors.append(door)
        return door

    def map(self, deed: Callable[[S], T], values: Iterable[S]) -> list[T]:
        """Do something with each value, four at a time, and return the results in order."""
        return list(self._pool.map(deed, values))

    def _read_page(self, url: str, version: str | None = None) -> tuple[IndexFile, ...] | None:
        """Return the files on a page, None where there is no such page."""
        response = self._get_door().get(url, {"Accept": _ACCEPT, "Accept-Encoding": "gzip"})
        if response.status in (404, 410):
            return None
        if response.status != 200:
            raise FetchError(
                f"`{clean_url(url)}` answers HTTP {response.status}",
                hint="give the credentials in the index URL or in a netrc file"
                if response.status in (401, 403)
                else None,
            )
        body = response.body
        if response.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            return (parse_json_page if kind == JSON_TYPE else parse_html_page)(body, url=response.url, version=version)
        except ValueError as error:
            raise FetchError(f"`{clean_url(url)}`: {error}") from error

    def _list_directory(self, directory: Path) -> tuple[IndexFile, ...]:
        """Return the files in a directory, or behind the page it holds, as a `file:` index has them."""
        page = directory / "index.html"
        if page.is_file():
            return parse_html_page(page.read_bytes(), url=page.absolute().as_uri())
        try:
            with os.scandir(directory) as entries:
                found = [(entry.name, entry.path, entry.stat().st_size) for entry in entries if entry.is_file()]
        except OSError:
            return ()
        return tuple(
            IndexFile(filename=name, url=Path(path).absolute().as_uri(), size_bytes=size)
            for name, path, size in sorted(found)
        )

    def greet(self, index: str) -> Response:
        """Return what an index answers when asked for the page of `pip`. Raises IndexUnreachableError, FetchError."""
        url = self._keys.strip_login(index).rstrip("/")
        return self._get_door().get(f"{url}/pip/", {"Accept": _ACCEPT, "Accept-Encoding": "gzip"})

    def _list_project(self, index: str, pin: Pin) -> tuple[IndexFile, ...]:
        path = find_path(index)
        if path:
            files = self._list_directory(path / pin.name)
        else:
            page = f"{self._keys.strip_login(index).rstrip('/')}/{pin.name}/"
            files = _keep_remote(self._read_page(page, pin.version))
        return tuple(replace(each, index=index) for each in files)

    def _list_links(self, place: str) -> tuple[IndexFile, ...]:
        path = find_path(place)
        if path is None:
            files = _keep_remote(self._read_page(self._keys.strip_login(place)))
        elif path.is_file():
            files = parse_html_page(path.read_bytes(), url=path.absolute().as_uri())
        else:
            files = self._list_directory(path)
        return tuple(replace(each, index=place) for each in files)

    def list_files(self, pins: Sequence[Pin]) -> Listing:
        """Return the files that all places together have of each pin.

        An index that does not answer is passed over where another does. Raises IndexUnreachableError where none can be
        reached, FetchError where none lets us in or answers with a page.
        """
        urls = self._indexes.urls
        wanted = [(index, pin) for pin in pins for index in urls]
        found: dict[str, list[IndexFile]] = {pin.name: [] for pin in pins}
        failures: dict[str, ReproError] = {}

        def list_one(pair: tuple[str, Pin]) -> tuple[IndexFile, ...]:
            index, pin = pair
            if index in failures:
                return ()
            try:
                return self._list_project(index, pin)
            except (IndexUnreachableError, FetchError) as error:
                failures[index] = error
                return ()

        for (_, pin), files in zip(wanted, self.map(list_one, wanted), strict=True):
            found[pin.name] += files
        for files in self.map(self._list_links, self._indexes.find_links):
            for each in files:
                name = project_of(each.filename)
                if name in found:
                    found[name].append(each)
        if failures and not any(found.values()):
            raise next(iter(failures.values()))
        return Listing(
            files={pin.name: _select_version(found[pin.name], pin.version) for pin in pins},
            failures=tuple(sorted(error.message for error in failures.values())),
        )

    def open(self, file: IndexFile) -> io.BufferedIOBase | io.RawIOBase:
        """Return a file to read parts of. Raises FetchError and IndexUnreachableError."""
        if path := find_path(file.url):
            try:
                return path.open("rb")
            except OSError as error:
                raise FetchError(f"`{file.filename}` cannot be read ({error.strerror})") from error
        return _RemoteFile(self._get_door(), self._keys.strip_login(file.url))

    def open_whole(self, file: IndexFile) -> io.BufferedIOBase | io.RawIOBase:
        """Return a whole file to read from its beginning. Raises FetchError and IndexUnreachableError."""
        if find_path(file.url):
            return self.open(file)
        response = self._get_door().get(self._keys.strip_login(file.url), {"Accept-Encoding": "identity"})
        if response.status != 200:
            raise FetchError(f"`{clean_url(file.url)}` cannot be read (HTTP {response.status})")
        return io.BytesIO(response.body)

    def compute_sha256(self, file: IndexFile) -> str:
        """Return the sha256 of a file whose index does not say it, as 64 hex digits. Raises what `open_whole` does."""
        import hashlib

        digest = hashlib.sha256()
        with self.open_whole(file) as source:
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()


def _keep_remote(files: tuple[IndexFile, ...] | None) -> tuple[IndexFile, ...]:
    """Leave out what a page elsewhere says of files on this machine."""
    return tuple(each for each in files or () if each.url.startswith(("http://", "https://")))


def _select_version(files: list[IndexFile], version: str) -> tuple[IndexFile, ...]:
    """Return the files of a version, however the names spell it (`1.0` and `1.0.0` are one, PEP 440)."""
    equal = tuple(each for each in files if each.version == version)
    if equal:
        return equal
    from packaging.utils import canonicalize_version

    wanted = canonicalize_version(version)
    return tuple(
        each for each in files if each.version and canonicalize_version(each.version.replace("_", "-")) == wanted
    )


def project_of(filename: str) -> str:
    """Return the canonical name of the project a file belongs to, by its name."""
    from repro.formats.lockfile import canonicalize_name

    if filename.endswith(".whl"):
        return canonicalize_name(filename.partition("-")[0])
    return canonicalize_name(filename.rpartition("-")[0])
