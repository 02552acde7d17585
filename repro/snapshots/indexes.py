"""Which indexes to ask, as a value: what options, variables and the configuration of pip and uv come to together.

Credentials stand in these values as they do in the configuration: they go to the installers through variables and to
the index in requests, and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro import settings
from repro.formats.direct_url import clean_url
from repro.values import frozen


@frozen
class Indexes:
    """Where files may come from: index URLs, the first asked first, and places with links or files.

    `default_url` is None where the client's own default serves. `chosen_urls` are asked for the named distributions
    alone. `no_index` is None where nobody has said. `cert` is a file or directory of certificates to trust.
    """

    default_url: str | None = None
    extra_urls: tuple[str, ...] = ()
    chosen_urls: tuple[tuple[str, tuple[str, ...]], ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool | None = None
    cert: str | None = None
    client_cert: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None
    timeout_s: float | None = None
    retries: int | None = None
    keyring_provider: str | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The index URLs to ask for everything, in order. Imports pip where its default is needed."""
        if self.no_index:
            return ()
        return tuple(dict.fromkeys((self.default_url or find_default_index(), *self.extra_urls)))

    @property
    def named_urls(self) -> tuple[str, ...]:
        """The index URLs that the user has named."""
        named = (self.default_url, *self.extra_urls, *(url for url, _ in self.chosen_urls))
        return () if self.no_index else tuple(dict.fromkeys(url for url in named if url))

    def find_urls(self, name: str) -> tuple[str, ...]:
        """Return the index URLs to ask for a distribution, in order."""
        chosen = () if self.no_index else (url for url, names in self.chosen_urls if name in names)
        return tuple(dict.fromkeys((*self.urls, *chosen)))

    def write_to(self, environ: dict[str, str], *, more_urls: Sequence[str] = ()) -> None:
        """Make installers look at these places, and at `more_urls` after them, and at no others."""
        known = {_simplify(url) for url in self.named_urls}
        more = () if self.no_index else tuple(url for url in more_urls if _simplify(url) not in known)
        extra = [url for url in self.named_urls if url != self.default_url]
        options = {
            "index-url": self.default_url,
            "extra-index-url": " ".join(map(_quote_place, (*extra, *more))),
            "no-index": "1" if self.no_index else None,
            "cert": self.cert,
            "client-cert": self.client_cert,
            "trusted-host": " ".join(self.trusted_hosts),
            "proxy": self.proxy,
            "timeout": f"{self.timeout_s:.0f}" if self.timeout_s else None,
            "retries": None if self.retries is None else str(self.retries),
            "keyring-provider": self.keyring_provider,
        }
        given = {name: value for name, value in options.items() if value}
        settings.name_indexes(environ, given, find_links=[_quote_place(place) for place in self.find_links])

    @property
    def public_urls(self) -> tuple[str, ...]:
        """The index URLs that a lock may name: those the user gave, no machine paths, no credentials."""
        return tuple(dict.fromkeys(public for url in self.named_urls if (public := make_public(url))))

    @property
    def id(self) -> str:
        """A digest that keeps the answers of different indexes apart, as 16 hex digits."""
        urls = [clean_url(url) for url in (self.default_url or "", *self.named_urls)]
        places = (*urls, "", *self.find_links, str(bool(self.no_index)))
        return hashlib.sha256("\n".join(places).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def find_default_index() -> str:
    """Return the index that pip asks where nobody has named one: only pip knows it."""
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)


def find_path(place: str) -> Path | None:
    """Return the path of a place on this machine, None where it is elsewhere."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return None if "://" in place else Path(os.path.expanduser(place))


def make_public(place: str) -> str | None:
    """Return a place as a lock may name it, without credentials; None where it is on this machine."""
    return None if find_path(place) else clean_url(place)


def _simplify(url: str) -> str:
    return clean_url(url).rstrip("/")


def _quote_place(place: str) -> str:
    """Return a place as a list of several may hold it: a path with a separator in it as a URL."""
    path = find_path(place)
    if path and any(char in place for char in " ,\t"):
        return path.absolute().as_uri().replace(",", "%2C")
    return place
