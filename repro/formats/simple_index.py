"""A page of a package index as values: which files there are of a project (PEP 503, 592, 629, 658, 691, 700, 714)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html")
_API_VERSION = re.compile(r'"api-version"\s*:\s*"([^"]*)"')
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One file of a project: its name, where it is, and what the index says of it.

    `sha256` and `metadata_sha256` (of a wheel's METADATA) are 64 hex digits; `yanked` is the reason, "" where none was
    given, None where it is not yanked; `index` is the index that listed it.
    """

    filename: str
    url: str
    sha256: str | None = None
    size_bytes: int | None = None
    yanked: str | None = None
    metadata_sha256: str | None = None
    upload_time: str | None = None
    index: str = ""

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel, by its name."""
        return self.filename.endswith(".whl")

    @property
    def version(self) -> str | None:
        """The version in its name as it stands there (`_` for `-`), None where the name is no distribution's."""
        if self.is_wheel:
            parts = self.filename.split("-")
            return parts[1] if len(parts) in (5, 6) else None
        for suffix in _SDIST_SUFFIXES:
            if self.filename.endswith(suffix):
                _, separator, version = self.filename.removesuffix(suffix).rpartition("-")
                return version if separator else None
        return None

    @property
    def tags(self) -> frozenset[str]:
        """A wheel's tags, each alone, e.g. `cp311-cp311-manylinux_2_28_x86_64` (PEP 425)."""
        if not self.is_wheel:
            return frozenset()
        return expand_tags("-".join(self.filename.removesuffix(".whl").split("-")[-3:]))


def expand_tags(compressed: str) -> frozenset[str]:
    """Return the tags in a compressed set, e.g. `py2.py3-none-any` (PEP 425)."""
    python, abi, platform = (part.split(".") for part in compressed.split("-"))
    return frozenset(f"{each}-{a}-{p}" for each in python for a in abi for p in platform)


def _read_sha256(hashes: object) -> str | None:
    value = hashes.get("sha256") if isinstance(hashes, dict) else None
    return value.lower() if isinstance(value, str) and _SHA256.fullmatch(value.lower()) else None


def _read_yanked(value: object) -> str | None:
    """PEP 592: present and not false means yanked; a text is the reason."""
    if value is None or value is False:
        return None
    return value if isinstance(value, str) else ""


def _make_file(item: dict[str, object], *, url: str) -> IndexFile:
    """Return the file an entry of a page describes. Raises KeyError and TypeError."""
    filename, place, size, time = item["filename"], item["url"], item.get("size"), item.get("upload-time")
    if not isinstance(filename, str) or not isinstance(place, str):
        raise TypeError("`filename` and `url` are no texts")
    return IndexFile(
        filename=filename,
        url=place if place.startswith("https://") else urljoin(url, place),
        sha256=_read_sha256(item.get("hashes")),
        size_bytes=size if isinstance(size, int) else None,
        yanked=_read_yanked(item.get("yanked")),
        metadata_sha256=_read_sha256(item.get("core-metadata", item.get("dist-info-metadata"))),
        upload_time=time if isinstance(time, str) else None,
    )


def _find_entries(text: str, version: str) -> list[dict[str, object]] | None:
    """Return the entries whose file name holds a version, None where that cannot be told without reading all.

    A page of a large project has thousands of entries and megabytes; looked for like this it is read in a fraction of
    the time. Whatever looks unusual is left to the whole reading.
    """
    decode = json.JSONDecoder().raw_decode
    entries = []
    at = text.find(f"-{version}")
    while at >= 0:
        try:
            entry, end = decode(text, text.rfind("{", 0, at))
        except ValueError:
            return None
        if not isinstance(entry, dict) or "filename" not in entry or "url" not in entry:
            return None
        entries.append(entry)
        at = text.find(f"-{version}", end)
    return entries or None


def _check_api_version(version: object) -> None:
    if str(version).partition(".")[0] != "1":
        raise ValueError(f"the index speaks version {version} of the simple API, this repro version 1")


def parse_json_page(content: bytes, *, url: str, version: str | None = None) -> tuple[IndexFile, ...]:
    """Return the files of a PEP 691 page that was read at `url`; with a `version` at least those of that version.

    Raises ValueError where it is no such page.
    """
    try:
        text = content.decode()
        entries = _find_entries(text, version) if version else None
        if entries is None:
            page = json.loads(text)
            _check_api_version(page.get("meta", {}).get("api-version", "1.0"))
            entries = page["files"]
        elif stated := _API_VERSION.search(text):
            _check_api_version(stated[1])
        return tuple(_make_file(entry, url=url) for entry in entries)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a page of the simple API: {error!r}") from error


class _Anchors(HTMLParser):
    """Gather the files a page links to."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.base = url
        self.files: list[IndexFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take `<base>` and `<a>`; the last attribute of a name counts."""
        values = dict(attrs)
        href = values.get("href")
        if not href:
            return
        if tag == "base":
            self.base = urljoin(self.base, href)
        elif tag == "a":
            self._add(urljoin(self.base, href), values)

    def _add(self, url: str, values: dict[str, str | None]) -> None:
        parts = urlsplit(url)
        filename = unquote(parts.path.rpartition("/")[2])
        if not filename.endswith((".whl", *_SDIST_SUFFIXES)):
            return
        metadata = values.get("data-core-metadata") or values.get("data-dist-info-metadata") or ""
        yanked = values.get("data-yanked") or "" if "data-yanked" in values else None
        self.files.append(
            IndexFile(
                filename=filename,
                url=parts._replace(fragment="").geturl(),
                sha256=_read_sha256({"sha256": parts.fragment.partition("sha256=")[2].partition("&")[0]}),
                yanked=yanked,
                metadata_sha256=_read_sha256({"sha256": metadata.removeprefix("sha256=")}),
            )
        )


def parse_html_page(content: bytes, *, url: str, version: str | None = None) -> tuple[IndexFile, ...]:
    """Return the files that a PEP 503 page, or any page of links, at `url` leads to, whatever the `version`."""
    anchors = _Anchors(url)
    anchors.feed(content.decode("utf-8", "replace"))
    return tuple(anchors.files)
