"""Read package indexes: which files there are of a project, and parts of those files, at most four requests at a time.

A place may be an index (PEP 503, PEP 691), a page of links or a directory (`--find-links`), each over http(s) or on
this machine.
"""

from __future__ import annotations

import os
import queue
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urlsplit

from repro.errors import ReproError
from repro.files import BLOCK_BYTES
from repro.formats.direct_url import clean_url
from repro.formats.simple_index import (
    HTML_TYPES,
    JSON_TYPE,
    IndexFile,
    is_file_name,
    parse_html_page,
    parse_json_page,
    select_version,
)
from repro.snapshots.access import Access
from repro.snapshots.door import LARGEST_BYTES, Door, Response
from repro.snapshots.indexes import Indexes, find_path
from repro.snapshots.pins import FetchError, IndexUnreachableError, Pin
from repro.snapshots.remote_file import TAIL_BYTES, open_remote, open_whole
from repro.values import frozen

CONCURRENCY = 4
_ACCEPT = f"{JSON_TYPE}, {HTML_TYPES[0]};q=0.2, text/html;q=0.1"
_MANY = 3

T = TypeVar("T")
S = TypeVar("S")


@frozen
class Listing:
    """The files of each pin, by canonical name.

    `failures` has a sentence for each place that could not be read, or not everything at it, `notes` what is odd.
    """

    files: Mapping[str, tuple[IndexFile, ...]]
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class DeniedError(FetchError):
    """An index does not let us in."""


class _Findings:
    """What places have said so far, and which of them have failed; filled by four threads."""

    def __init__(self, pins: Sequence[Pin]) -> None:
        self.found: dict[str, list[IndexFile]] = {pin.name: [] for pin in pins}
        self.failures: dict[str, ReproError] = {}
        self.closed: set[str] = set()

    def read(self, place: str, read: Callable[[], tuple[IndexFile, ...]]) -> tuple[IndexFile, ...]:
        """Return what a place has; one that cannot be reached or lets us not in is not asked again."""
        if place in self.closed:
            return ()
        try:
            return read()
        except (IndexUnreachableError, FetchError) as error:
            self.failures.setdefault(place, error)
            if isinstance(error, IndexUnreachableError | DeniedError):
                self.closed.add(place)
            return ()

    def add(self, files: Iterable[IndexFile], *, pin: Pin | None = None) -> None:
        """Add files of a pin's project, else of any project that is asked for."""
        for file in files:
            name = file.project
            if name in self.found and (pin is None or pin.name == name):
                self.found[name].append(file)

    def has_from(self, place: str) -> bool:
        """Tell whether a place has given anything."""
        return any(file.index == place for files in self.found.values() for file in files)


def _refuse_page(response: Response, url: str) -> FetchError:
    if response.status in (401, 403, 407):
        hint = "give the credentials in the index URL, in a netrc file, or in UV_INDEX_<NAME>_USERNAME and _PASSWORD"
        return DeniedError(f"`{clean_url(url)}` does not let us in (HTTP {response.status})", hint=hint)
    return FetchError(f"`{clean_url(url)}` answers HTTP {response.status}")


def _decode_body(response: Response) -> bytes:
    """Return a body as it was before it was compressed. Raises ValueError."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return response.body
    if encoding not in ("gzip", "x-gzip"):
        raise ValueError(f"it is encoded as `{encoding[:20]}`, which was not asked for")
    decoder = zlib.decompressobj(wbits=31)
    try:
        body = decoder.decompress(response.body, LARGEST_BYTES)
    except zlib.error as error:
        raise ValueError(f"its compression is damaged ({error})") from error
    if not decoder.eof:
        raise ValueError(f"its compression is cut off, or it has more than {LARGEST_BYTES >> 20} MiB")
    return body


def _parse_page(response: Response, *, place: str, version: str | None) -> tuple[IndexFile, ...]:
    """Return the files on a page. Raises ValueError."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON_TYPE:
        return parse_json_page(_decode_body(response), url=response.url, index=place, version=version)
    if kind in HTML_TYPES:
        return parse_html_page(_decode_body(response), url=response.url, index=place)
    raise ValueError(f"it is `{kind[:60]}`, no page of the simple API")


def _read_local_page(page: Path, place: str) -> tuple[IndexFile, ...]:
    try:
        return parse_html_page(page.read_bytes(), url=page.absolute().as_uri(), index=place)
    except (OSError, ValueError) as error:
        raise FetchError(f"`{page}` cannot be read ({error})") from error


def _list_directory(directory: Path, place: str) -> tuple[IndexFile, ...]:
    """Return the files in a directory, or behind the page it holds, as a `file:` index has them."""
    page = directory / "index.html"
    if page.is_file():
        return _read_local_page(page, place)
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.path, entry.stat().st_size) for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise FetchError(f"`{directory}` cannot be read ({error.strerror})") from error
    return tuple(
        IndexFile(filename=name, url=Path(path).absolute().as_uri(), size_bytes=size, index=place)
        for name, path, size in sorted(found)
        if is_file_name(name)
    )


def _format_page_url(index: str, name: str) -> str:
    parts = urlsplit(index)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}/", fragment="").geturl()


class IndexClient:
    """Ask the indexes; a context manager, which closes the connections at the end.

    Four doors stand for four requests at a time, whoever asks.
    """

    def __init__(self, indexes: Indexes, *, environ: Mapping[str, str]) -> None:
        self._indexes = indexes
        self._access = Access(indexes, environ)
        self._all_doors = [Door(self._access) for _ in range(CONCURRENCY)]
        self._doors: queue.LifoQueue[Door] = queue.LifoQueue()
        for door in self._all_doors:
            self._doors.put(door)

    def __enter__(self) -> IndexClient:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind:
            self._access.stopped.set()
            for door in self._all_doors:
                door.interrupt()
        while not self._doors.empty():
            self._doors.get().close()

    def _ask(self, url: str, headers: Mapping[str, str], into: IO[bytes] | None = None) -> Response:
        door = self._doors.get()
        try:
            return door.get(url, headers, into=into)
        finally:
            self._doors.put(door)

    def map(self, deed: Callable[[S], T], values: Iterable[S]) -> list[T]:
        """Do something with each value, four at a time, and return the results in order; the first error ends all.

        The threads are daemons: whoever interrupts us need not wait for a server.
        """
        pending = list(enumerate(values))[::-1]
        results: dict[int, T] = {}
        errors: list[BaseException] = []

        def work() -> None:
            while pending and not errors:
                try:
                    number, value = pending.pop()
                except IndexError:  # another thread was faster
                    return
                try:
                    results[number] = deed(value)
                except BaseException as error:
                    errors.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(CONCURRENCY, len(pending)))]
        number_of_values = len(pending)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [results[number] for number in range(number_of_values)]

    def _read_page(self, url: str, *, place: str, version: str | None = None) -> tuple[IndexFile, ...] | None:
        """Return the files on a page of a place, None where there is no such page.

        Raises FetchError and IndexUnreachableError.
        """
        response = self._ask(url, {"Accept": _ACCEPT, "Accept-Encoding": "gzip"})
        if response.status in (404, 410):
            return None
        if response.status != 200:
            raise _refuse_page(response, url)
        try:
            return _parse_page(response, place=place, version=version)
        except ValueError as error:
            raise FetchError(f"`{clean_url(url)}` cannot be read: {error}") from error

    def greet(self, index: str) -> Response:
        """Return what an index answers when asked for the page of `pip`. Raises IndexUnreachableError, FetchError."""
        return self._ask(_format_page_url(index, "pip"), {"Accept": _ACCEPT, "Accept-Encoding": "gzip"})

    def _list_project(self, index: str, pin: Pin) -> tuple[IndexFile, ...]:
        if path := find_path(index):
            return _list_directory(path / pin.name, index)
        return self._read_page(_format_page_url(index, pin.name), place=index, version=pin.version) or ()

    def _list_links(self, place: str) -> tuple[IndexFile, ...]:
        path = find_path(place)
        if path:
            return _read_local_page(path, place) if path.is_file() else _list_directory(path, place)
        files = self._read_page(place, place=place)
        if files is None:
            raise FetchError(f"`{clean_url(place)}` answers HTTP 404")
        return files

    def list_project(self, name: str) -> tuple[IndexFile, ...]:
        """Return the files of every version that all places together have, each name once, the first place first.

        Raises FetchError and IndexUnreachableError.
        """
        pages = [self._list_all(index, name) for index in self._indexes.find_urls(name)]
        pages += [self._list_links(place) for place in self._indexes.find_links]
        found: dict[str, IndexFile] = {}
        for file in (file for page in pages for file in page if file.project == name):
            found.setdefault(file.filename, file)
        return tuple(found.values())

    def _list_all(self, index: str, name: str) -> tuple[IndexFile, ...]:
        if path := find_path(index):
            return _list_directory(path / name, index)
        return self._read_page(_format_page_url(index, name), place=index) or ()

    def list_files(self, pins: Sequence[Pin]) -> Listing:
        """Return the files that all places together have of each pin.

        A place that fails is passed over, unless it is the first index and something was found nowhere else: then
        IndexUnreachableError is raised where it cannot be reached, FetchError where it lets us not in or answers with
        no page.
        """
        findings = _Findings(pins)
        wanted = [(index, pin) for pin in pins for index in self._indexes.find_urls(pin.name)]
        pages = self.map(lambda pair: findings.read(pair[0], lambda: self._list_project(*pair)), wanted)
        for (_, pin), files in zip(wanted, pages, strict=True):
            findings.add(files, pin=pin)
        links = self._indexes.find_links
        for files in self.map(lambda place: findings.read(place, lambda: self._list_links(place)), links):
            findings.add(files)
        selected = {pin.name: select_version(findings.found[pin.name], pin.version) for pin in pins}
        self._require_first(findings, selected)
        return Listing(
            files=selected,
            failures=tuple(sorted(error.message for error in findings.failures.values())),
            notes=self._note_foreign(findings, pins),
        )

    def _require_first(self, findings: _Findings, selected: Mapping[str, tuple[IndexFile, ...]]) -> None:
        """Raise what the first index failed with where that can be why something was not found."""
        first = next(iter(self._indexes.urls), None)
        error = findings.failures.get(first) if first else None
        if error and not all(selected.values()) and (first in findings.closed or not findings.has_from(first or "")):
            raise error

    def _note_foreign(self, findings: _Findings, pins: Sequence[Pin]) -> tuple[str, ...]:
        """Return a note where the first index knows nothing of all that is asked for: its URL may be wrong."""
        first = next(iter(self._indexes.urls), None)
        if first is None or len(pins) < _MANY or first in findings.failures or findings.has_from(first):
            return ()
        return (f"`{clean_url(first)}` has none of the {len(pins)} distributions: is it the URL of an index?",)

    def open(self, file: IndexFile, *, tail_bytes: int = TAIL_BYTES) -> IO[bytes]:
        """Return a file to read parts of; those at its end are read first. Raises FetchError, IndexUnreachableError."""
        if path := find_path(file.url):
            return _open_path(path)
        return open_remote(self._ask, file.url, tail_bytes=tail_bytes)

    def open_whole(self, file: IndexFile) -> IO[bytes]:
        """Return a whole file to read from its beginning. Raises FetchError and IndexUnreachableError."""
        if path := find_path(file.url):
            return _open_path(path)
        return open_whole(self._ask, file.url)

    def compute_sha256(self, file: IndexFile) -> str:
        """Return the sha256 of a file whose index does not say it, as 64 hex digits. Raises what `open_whole` does."""
        import hashlib

        digest = hashlib.sha256()
        with self.open_whole(file) as source:
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()


def _open_path(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise FetchError(f"`{path.name}` cannot be read ({error.strerror})") from error
