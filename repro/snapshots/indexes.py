"""Which indexes to ask: what the user has named by options, variables, and in pip's and uv's own configuration.

Options come before variables, these before files, as in both tools; all places that are left are asked, because a
pinned version with a hash cannot be the wrong one. Credentials stand in these values as they do in the configuration:
they go to the installers through variables and to the index in requests, and nowhere else.
"""

from __future__ import annotations

import configparser
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from repro import settings
from repro.errors import UsageError
from repro.formats.direct_url import clean_url
from repro.formats.toml import parse_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """Where files may come from: index URLs, the first asked first, and places with links or files.

    `default_url` is None where the client's own default serves; `cert` is a file of certificates to trust.
    """

    default_url: str | None = None
    extra_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None
    client_cert: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The index URLs to ask, in order. Imports pip where its default is needed."""
        if self.no_index:
            return ()
        return tuple(dict.fromkeys((self.default_url or find_default_index(), *self.extra_urls)))

    def write_to(self, environ: dict[str, str], *, more_urls: tuple[str, ...] = ()) -> None:
        """Make installers look at these places, and at `more_urls` after them, and at no others."""
        known = {clean_url(url) for url in self.extra_urls}
        more = tuple(url for url in more_urls if url not in known)
        settings.name_indexes(
            environ,
            default=self.default_url,
            extra=(*self.extra_urls, *more),
            find_links=self.find_links,
            no_index=self.no_index,
        )

    @property
    def public_urls(self) -> tuple[str, ...]:
        """The index URLs that a lock may name: those the user gave, no machine paths, no credentials."""
        named = (self.default_url, *self.extra_urls) if not self.no_index else ()
        return tuple(dict.fromkeys(clean_url(url) for url in named if url and not url.startswith("file:")))

    @property
    def id(self) -> str:
        """A digest that keeps the answers of different indexes apart, as 16 hex digits."""
        urls = [clean_url(url) for url in (self.default_url or "", *self.extra_urls)]
        places = (*urls, "", *self.find_links, str(self.no_index))
        return hashlib.sha256("\n".join(places).encode()).hexdigest()[:16]


def find_default_index() -> str:
    """Return the index that pip asks where nobody has named one: only pip knows it."""
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)


def _read_pip_files(paths: Iterable[str]) -> dict[str, str]:
    """Return pip's options; `[install]` is stronger than `[global]`, a later file than an earlier one."""
    merged: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in paths:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0].partition(": ")[0]
            raise UsageError(f"pip's configuration `{path}` cannot be read ({reason})", hint="mend it") from error
        for section, options in merged.items():
            if parser.has_section(section):
                options.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return merged["global"] | merged["install"]


def _load_toml(path: str) -> dict[str, object]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return parse_toml(text, where=path)


def _as_table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _as_texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in _as_list(value) if isinstance(each, str))


def _read_uv_file(path: str, environ: Mapping[str, str]) -> Indexes:
    """Return what one file of uv's says, its `[pip]` table before the rest."""
    content = _load_toml(path)
    table = (
        _as_table(_as_table(content.get("tool")).get("uv")) if os.path.basename(path) == "pyproject.toml" else content
    )
    default, extra = None, []
    for item in map(_as_table, _as_list(table.get("index"))):
        url = item.get("url")
        if not isinstance(url, str) or item.get("explicit") is True:
            continue
        url = _add_uv_credentials(url, str(item.get("name") or ""), environ)
        if item.get("default") is True:
            default = url
        else:
            extra.append(url)
    table = table | _as_table(table.get("pip"))
    older = table.get("index-url")
    return Indexes(
        default_url=default or (older if isinstance(older, str) else None),
        extra_urls=(*extra, *_as_texts(table.get("extra-index-url"))),
        find_links=_as_texts(table.get("find-links")),
        no_index=table.get("no-index") is True,
    )


def _add_uv_credentials(url: str, name: str, environ: Mapping[str, str]) -> str:
    """Return the URL with `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD`, where they are set."""
    word = "".join(char if char.isalnum() else "_" for char in name).upper()
    user, password = environ.get(f"UV_INDEX_{word}_USERNAME"), environ.get(f"UV_INDEX_{word}_PASSWORD")
    if not name or not (user or password) or "@" in url.partition("://")[2].partition("/")[0]:
        return url
    from urllib.parse import quote

    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(user or '', safe='')}:{quote(password or '', safe='')}@{rest}"


def _read_variables(environ: Mapping[str, str]) -> Indexes:
    """Return what the variables of pip and uv say; where both name a default, uv's."""
    named = settings.get_named_indexes(environ)
    extra = []
    for word in named.extra:
        name, separator, url = word.partition("=")
        is_named = separator and "://" not in name
        extra.append(_add_uv_credentials(url, name, environ) if is_named else word)
    return Indexes(
        default_url=named.default,
        extra_urls=tuple(extra),
        find_links=named.find_links,
        no_index=named.no_index,
        cert=environ.get("PIP_CERT") or environ.get("SSL_CERT_FILE") or None,
        client_cert=environ.get("PIP_CLIENT_CERT") or environ.get("SSL_CLIENT_CERT") or None,
        trusted_hosts=tuple((environ.get("PIP_TRUSTED_HOST") or environ.get("UV_INSECURE_HOST") or "").split()),
        proxy=environ.get("PIP_PROXY") or None,
    )


def _read_pip_options(options: Mapping[str, str]) -> Indexes:
    return Indexes(
        default_url=options.get("index-url") or None,
        extra_urls=tuple(options.get("extra-index-url", "").split()),
        find_links=tuple(options.get("find-links", "").split()),
        no_index=options.get("no-index", "").lower() in ("1", "true", "yes", "on"),
        cert=options.get("cert") or None,
        client_cert=options.get("client-cert") or None,
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        proxy=options.get("proxy") or None,
    )


def _merge(strong: Indexes, weak: Indexes) -> Indexes:
    """Return both: the default of the stronger, the places of both."""
    return Indexes(
        default_url=strong.default_url or weak.default_url,
        extra_urls=tuple(dict.fromkeys((*strong.extra_urls, *weak.extra_urls))),
        find_links=tuple(dict.fromkeys((*strong.find_links, *weak.find_links))),
        no_index=strong.no_index or weak.no_index,
        cert=strong.cert or weak.cert,
        client_cert=strong.client_cert or weak.client_cert,
        trusted_hosts=tuple(dict.fromkeys((*strong.trusted_hosts, *weak.trusted_hosts))),
        proxy=strong.proxy or weak.proxy,
    )


def _find_local_path(place: str) -> str | None:
    """Return the path of a place on this machine, None where it is elsewhere."""
    if place.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        return unquote(urlsplit(place).path)
    return None if "://" in place else os.path.expanduser(place)


def _is_there(place: str) -> bool:
    path = _find_local_path(place)
    return path is None or os.path.exists(path)


def find_indexes(
    environ: Mapping[str, str],
    *,
    project: Path,
    prefix: str | None = None,
    given: Indexes | None = None,
) -> Indexes:
    """Return where files may come from; local places that do not exist are left out.

    `given` is what options say, `prefix` the environment whose `pip.conf` counts, `project` the directory whose uv
    configuration does. Raises UsageError for a configuration that cannot be read.
    """
    merged = _merge(given or Indexes(), _read_variables(environ))
    merged = _merge(merged, _read_pip_options(_read_pip_files(settings.list_pip_files(environ, prefix))))
    for path in reversed(settings.list_uv_files(environ, os.path.abspath(project))):
        merged = _merge(merged, _read_uv_file(path, environ))
    return Indexes(
        default_url=merged.default_url,
        extra_urls=tuple(url for url in merged.extra_urls if url != merged.default_url and _is_there(url)),
        find_links=tuple(place for place in merged.find_links if _is_there(place)),
        no_index=merged.no_index,
        cert=merged.cert,
        client_cert=merged.client_cert,
        trusted_hosts=merged.trusted_hosts,
        proxy=merged.proxy,
    )
