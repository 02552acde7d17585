"""A page of a package index as values: which files there are of a project (PEP 503, 592, 629, 658, 691, 700, 714).

What a page says of a file that no installer could use, or of files on this machine where the page lies elsewhere, is
passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from repro.formats.lockfile import canonicalize_name
from repro.formats.tags import expand_tags
from repro.values import frozen, replace

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html")
_API_VERSION = re.compile(r'"api-version"\s*:\s*"1(\.\d+)?"')
_LIST_OF_FILES = re.compile(r'"files"\s*:\s*\[')
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}")
_PLAIN_URL = re.compile(r"https://[a-z0-9.-]+/[A-Za-z0-9/_.+%~=-]*")
_WHEEL = re.compile(r"[^-]+-([^-]+)(?:-[0-9][^-]*)?((?:-[^-]+){3})\.whl")
_SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar")
_DECODE = json.JSONDecoder().raw_decode
_DEEPEST = 8  # how many objects an entry may hold before its file name; more are left to the whole reading


@frozen
class IndexFile:
    """One wheel or sdist of a project: its name, where it is, and what the index says of it.

    `sha256` and `metadata_sha256` (of a wheel's METADATA) are 64 hex digits; `yanked` is the reason, "" where none was
    given, None where it is not yanked; `requires_python` are the Pythons that may take it (PEP 345), as the index says
    it; `index` is the index that listed it.
    """

    filename: str
    url: str
    sha256: str | None = None
    size_bytes: int | None = None
    yanked: str | None = None
    metadata_sha256: str | None = None
    upload_time: str | None = None
    requires_python: str | None = None
    index: str = ""

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel, by its name."""
        return self.filename.endswith(".whl")

    @property
    def project(self) -> str:
        """The canonical name of the project it belongs to, by its name."""
        head, _, _ = self.filename.partition("-") if self.is_wheel else self.filename.rpartition("-")
        return canonicalize_name(head)

    @property
    def version(self) -> str:
        """The version in its name as it stands there (`_` for `-` in a wheel's)."""
        if found := _WHEEL.fullmatch(self.filename):
            return found[1]
        suffix = next((each for each in _SDIST_SUFFIXES if self.filename.endswith(each)), "")
        return self.filename.removesuffix(suffix).rpartition("-")[2]

    @property
    def tags(self) -> frozenset[str]:
        """A wheel's tags, each alone, e.g. `cp311-cp311-manylinux_2_28_x86_64` (PEP 425)."""
        found = _WHEEL.fullmatch(self.filename)
        return expand_tags(found[2][1:]) if found else frozenset()


def is_file_name(text: str) -> bool:
    """Tell whether a text is the name of a wheel or sdist, nothing else in it."""
    if not _FILENAME.fullmatch(text):
        return False
    return bool(_WHEEL.fullmatch(text)) or ("-" in text and text.endswith(_SDIST_SUFFIXES))


def select_version(files: Sequence[IndexFile], version: str) -> tuple[IndexFile, ...]:
    """Return the files of a version: those whose names spell it so, else all that mean it (`1.0` is `1.0.0`, PEP 440).

    Where wheel and sdist are spelled alike, as nearly always, no other spelling is looked for.
    """
    equal = tuple(each for each in files if each.version == version)
    if _is_complete(equal):
        return equal
    from packaging.utils import canonicalize_version

    wanted = canonicalize_version(version)
    return tuple(each for each in files if canonicalize_version(each.version.replace("_", "-")) == wanted)


def _is_complete(files: Iterable[IndexFile]) -> bool:
    return {each.is_wheel for each in files} == {True, False}


def _find_first_number(version: str) -> str:
    """Return what every spelling of a version holds: the first number of its release."""
    found = re.search(r"\d+", version.partition("!")[2] or version)
    return (found[0].lstrip("0") or "0") if found else ""


def _read_sha256(hashes: object) -> str | None:
    value = hashes.get("sha256") if isinstance(hashes, dict) else None
    return value.lower() if isinstance(value, str) and _SHA256.fullmatch(value.lower()) else None


def _read_yanked(value: object) -> str | None:
    """PEP 592: present and not false means yanked; a text is the reason, of which one printable line is kept."""
    if value is None or value is False:
        return None
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(char for char in text if char.isprintable())[:300]


def _resolve_url(place: str, base: str) -> str | None:
    """Return the URL of a file that a page at `base` names, without user info, which is not the page's to say."""
    if _PLAIN_URL.fullmatch(place):
        return place
    try:
        parts = urlsplit(urljoin(base, place))
        _ = parts.port  # a bad one is found when it is looked at
    except ValueError:
        return None
    is_near = parts.scheme == "file" and base.startswith("file:")
    if not is_near and (parts.scheme not in ("http", "https") or not parts.hostname):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _make_file(item: dict[str, object], *, url: str, index: str) -> IndexFile | None:
    """Return the file an entry of a JSON page describes, None where it is not one that could be installed."""
    filename, place, size, time = (item.get(key) for key in ("filename", "url", "size", "upload-time"))
    pythons = item.get("requires-python")
    if not isinstance(filename, str) or not isinstance(place, str) or not is_file_name(filename):
        return None
    found = _resolve_url(place, url)
    if found is None:
        return None
    return IndexFile(
        filename=filename,
        url=found,
        sha256=_read_sha256(item.get("hashes")),
        size_bytes=size if type(size) is int and size > 0 else None,
        yanked=_read_yanked(item.get("yanked")),
        metadata_sha256=_read_sha256(item.get("core-metadata", item.get("dist-info-metadata"))),
        upload_time=time if isinstance(time, str) else None,
        requires_python=pythons if isinstance(pythons, str) else None,
        index=index,
    )


def _find_object(text: str, at: int, first: int) -> tuple[int, int, object] | None:
    """Return the innermost object around a position: where it begins and ends, and what it is."""
    start = at
    for _ in range(_DEEPEST):
        start = text.rfind("{", first, start)
        if start < 0:
            return None
        try:
            found, end = _DECODE(text, start)
        except ValueError:
            return None
        if end > at:
            return start, end, found
    return None


def _is_in_list(text: str, start: int) -> bool:
    """Tell whether the object that begins here is an item of a list, not the value of a name."""
    return text[max(start - 64, 0) : start].rstrip().endswith((",", "["))


def _find_entries(text: str, version: str) -> list[dict[str, object]] | None:
    """Return the entries that hold a version in their file names, None where that cannot be told without reading all.

    A page of a large project has thousands of entries and megabytes; looked for like this it is read in a twentieth of
    the time. Entries are objects in the one list `files`, so no other list may begin between it and the last of them.
    """
    files = _LIST_OF_FILES.search(text)
    if not files or text.rfind('"files"') != files.start() or ("\\" in text and "\\u00" in text):
        return None
    entries, end = [], files.end()
    needle = f"-{version}"
    at = text.find(needle, end)
    while at >= 0:
        found = _find_object(text, at, end)
        if found is None:
            return None
        start, end, entry = found
        if not isinstance(entry, dict) or "filename" not in entry or not _is_in_list(text, start):
            return None
        entries.append(entry)
        at = text.find(needle, end)
    return None if text.find("[", files.end(), end) >= 0 else entries


def _find_files(text: str, version: str, *, url: str, index: str) -> tuple[IndexFile, ...] | None:
    """Return the files of a version where they can be told without reading the whole page."""
    stated = text.find('"api-version"')
    if stated >= 0 and (not _API_VERSION.match(text, stated) or text.find('"api-version"', stated + 1) >= 0):
        return None
    entries = _find_entries(text, version)
    files = tuple(file for entry in entries or () if (file := _make_file(entry, url=url, index=index)))
    return files if _is_complete(each for each in files if each.version == version) else None


def _check_api_version(version: object) -> None:
    """PEP 629: a higher minor version can be read, another major version cannot."""
    if not re.fullmatch(r"1(\.\d+)?", str(version)):
        raise ValueError(f"the index speaks version {str(version)[:20]!r} of the simple API, this repro version 1")


def _read_files(text: str, version: str | None, *, url: str, index: str) -> Iterator[IndexFile]:
    """Yield the files of a whole page, with a version those that could be of it."""
    page = json.loads(text)
    meta, entries = page.get("meta", {}), page["files"]
    _check_api_version(meta.get("api-version", "1.0"))
    if not isinstance(entries, list):
        raise TypeError("`files` is no list")
    number = _find_first_number(version) if version else ""
    for entry in entries:
        if not isinstance(entry, dict) or number not in str(entry.get("filename")):
            continue
        if file := _make_file(entry, url=url, index=index):
            yield file


def parse_json_page(content: bytes, *, url: str, index: str = "", version: str | None = None) -> tuple[IndexFile, ...]:
    """Return the files of a PEP 691 page that was read at `url`; with a `version` at least those of that version.

    Raises ValueError where it is no such page.
    """
    try:
        text = content.decode()
        found = _find_files(text, version, url=url, index=index) if version else None
        return tuple(_read_files(text, version, url=url, index=index)) if found is None else found
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not a page of the simple API: no JSON ({type(error).__name__})") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a page of the simple API: it holds no list `files`") from error


class _Anchors(HTMLParser):
    """Gather the files a page links to."""

    def __init__(self, url: str, index: str) -> None:
        super().__init__()
        self.index = index
        self.base = url
        self.url = url
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take `<base>`, `<a>` and the version of the API."""
        values = {name: value or "" for name, value in attrs}
        if tag == "meta" and values.get("name") == "pypi:repository-version":
            _check_api_version(values.get("content", ""))
        elif tag == "base" and values.get("href"):
            self.base = _join(self.url, values["href"]) or self.url
        elif tag == "a" and values.get("href"):
            self._add(values["href"], values)

    def _add(self, href: str, values: dict[str, str]) -> None:
        place = _join(self.base, href)
        if place is None:
            return
        path, _, fragment = place.partition("#")
        filename = unquote(path.partition("?")[0].rpartition("/")[2])
        pythons = values.get("data-requires-python") or None
        item: dict[str, object] = {"filename": filename, "url": place, "requires-python": pythons}
        file = _make_file(item, url=self.url, index=self.index)
        if file is None:
            return
        metadata = values.get("data-core-metadata") or values.get("data-dist-info-metadata") or ""
        self.files.append(
            replace(
                file,
                sha256=_read_sha256({"sha256": fragment.partition("sha256=")[2].partition("&")[0]}),
                yanked=_read_yanked(values.get("data-yanked")),
                metadata_sha256=_read_sha256({"sha256": metadata.removeprefix("sha256=")}),
            )
        )


def _join(base: str, place: str) -> str | None:
    try:
        return urljoin(base, place.strip())
    except ValueError:
        return None


def parse_html_page(content: bytes, *, url: str, index: str = "") -> tuple[IndexFile, ...]:
    """Return the files that a PEP 503 page, or any page of links, at `url` leads to.

    Raises ValueError where it cannot be read.
    """
    anchors = _Anchors(url, index)
    try:
        anchors.feed(content.decode("utf-8", "replace"))
    except (AssertionError, RecursionError) as error:  # html.parser gives up on some declarations like this
        raise ValueError("not a page of links: its HTML cannot be read") from error
    return tuple(anchors.files)
