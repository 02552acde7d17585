"""Find out which indexes the user has named: by options, variables, and in pip's and uv's own configuration.

Options come before variables, these before files, as in both tools; all places that are left are asked, because a
pinned version with a hash cannot be the wrong one.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from urllib.parse import quote, urlsplit

from repro import settings
from repro.errors import ReproError, UsageError
from repro.formats.lockfile import canonicalize_name
from repro.formats.redaction import drop_login
from repro.formats.toml import parse_toml
from repro.snapshots.indexes import Indexes, find_path
from repro.values import replace

_LOGIN_HINT = "in a user name or password, write `/` as `%2F`, `@` as `%40`, `#` as `%23` and `?` as `%3F`"


def _read_pip_files(paths: Iterable[str]) -> dict[str, str]:
    """Return pip's options; `[install]` is stronger than `[global]`, a later file than an earlier one."""
    merged: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in paths:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            kind = type(error).__name__.removesuffix("Error")
            line = getattr(error, "lineno", None)
            at = f", line {line}" if isinstance(line, int) else ""
            raise ReproError(f"pip's configuration `{path}` cannot be read ({kind}{at})", hint="mend it") from error
        for section, options in merged.items():
            if parser.has_section(section):
                items = parser.items(section)
                options.update({key.removeprefix("--").replace("_", "-"): value for key, value in items})
    return merged["global"] | merged["install"]


def _parse_number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 86400 else None


def _read_options(options: Mapping[str, str], environ: Mapping[str, str], *, separator: str | None = None) -> Indexes:
    """Return what options say that are named as pip names them; `find-links` is split at `separator`, else at space."""
    retries = _parse_number(options.get("retries"))
    default = options.get("index-url", "").strip()
    return Indexes(
        default_url=_read_named_url(default, environ) if default else None,
        extra_urls=tuple(_read_named_url(word, environ) for word in options.get("extra-index-url", "").split()),
        find_links=tuple(word.strip() for word in options.get("find-links", "").split(separator) if word.strip()),
        no_index=settings.is_true(options["no-index"]) if options.get("no-index") else None,
        cert=options.get("cert") or None,
        client_cert=options.get("client-cert") or None,
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        proxy=options.get("proxy") or None,
        timeout_s=_parse_number(options.get("timeout")) or None,
        retries=None if retries is None else int(retries),
        keyring_provider=options.get("keyring-provider") or None,
    )


def _read_named_url(word: str, environ: Mapping[str, str]) -> str:
    """Return the URL of `name=URL` or `URL`, with the login that variables have for the name."""
    name, separator, url = word.partition("=")
    return _add_uv_login(url, name, environ) if separator and ":" not in name and "/" not in name else word


def _add_uv_login(url: str, name: str, environ: Mapping[str, str]) -> str:
    """Return the URL with `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD`, where they are set."""
    login = settings.find_index_login(environ, name) if name else None
    scheme, separator, rest = url.partition("://")
    if login is None or not separator or "@" in rest.partition("/")[0]:
        return url
    user, password = (quote(word, safe="") for word in login)
    return f"{scheme}://{user}:{password}@{rest}"


def _as_table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _as_texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in _as_list(value) if isinstance(each, str))


def _load_uv_table(path: str) -> dict[str, object] | None:
    """Return what a file says to uv, None where there is none or it says nothing. Raises ReproError."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    content = parse_toml(text, where=path)
    if os.path.basename(path) != "pyproject.toml":
        return content
    table = _as_table(content.get("tool")).get("uv")
    return table if isinstance(table, dict) else None


def _find_choosers(table: Mapping[str, object], index: str) -> tuple[str, ...]:
    """Return the distributions that `sources` takes from a named index, by canonical name."""
    found = []
    for name, value in _as_table(table.get("sources")).items():
        sources = map(_as_table, value if isinstance(value, list) else [value])
        if any(each.get("index") == index for each in sources):
            found.append(canonicalize_name(name))
    return tuple(sorted(found))


def _read_uv_indexes(table: Mapping[str, object], environ: Mapping[str, str]) -> Indexes:
    """Return the indexes of uv's `index` tables; one that is explicit is asked for what `sources` takes from it."""
    default, extra, chosen = None, [], []
    for item in map(_as_table, _as_list(table.get("index"))):
        url, name = item.get("url"), item.get("name")
        if not isinstance(url, str):
            continue
        name = name if isinstance(name, str) else ""
        url = _add_uv_login(url, name, environ)
        if item.get("explicit") is True:
            chosen.append((url, _find_choosers(table, name)))
        elif item.get("default") is True:
            default = default or url
        else:
            extra.append(url)
    return Indexes(default_url=default, extra_urls=tuple(extra), chosen_urls=tuple(chosen))


def _read_uv_table(table: Mapping[str, object], environ: Mapping[str, str]) -> Indexes:
    default, no_index = table.get("index-url"), table.get("no-index")
    older = Indexes(
        default_url=default if isinstance(default, str) else None,
        extra_urls=_as_texts(table.get("extra-index-url")),
        find_links=_as_texts(table.get("find-links")),
        no_index=no_index if isinstance(no_index, bool) else None,
        trusted_hosts=_as_texts(table.get("allow-insecure-host")),
    )
    return _merge(_read_uv_indexes(table, environ), older)


def _rebase(indexes: Indexes, directory: str) -> Indexes:
    """Return places with relative paths as those of the directory that they are relative to."""

    def rebase(place: str) -> str:
        path = None if place.startswith("file:") else find_path(place)
        return place if path is None or path.is_absolute() else os.path.normpath(os.path.join(directory, path))

    return replace(
        indexes,
        default_url=rebase(indexes.default_url) if indexes.default_url else None,
        extra_urls=tuple(map(rebase, indexes.extra_urls)),
        chosen_urls=tuple((rebase(url), names) for url, names in indexes.chosen_urls),
        find_links=tuple(map(rebase, indexes.find_links)),
    )


def _read_uv_files(environ: Mapping[str, str], project: str) -> Indexes:
    """Return what uv's files say; of each group, the first file that says anything counts."""
    merged = Indexes()
    for paths in settings.list_uv_files(environ, project):
        found = next(((path, table) for path in paths if (table := _load_uv_table(path)) is not None), None)
        if found:
            path, table = found
            says = _merge(_read_uv_table(_as_table(table.get("pip")), environ), _read_uv_table(table, environ))
            merged = _merge(merged, _rebase(says, os.path.dirname(path)))
    return merged


def _merge(strong: Indexes, weak: Indexes) -> Indexes:
    """Return both: the single values of the stronger, the places of both."""
    return Indexes(
        default_url=strong.default_url or weak.default_url,
        extra_urls=tuple(dict.fromkeys((*strong.extra_urls, *weak.extra_urls))),
        chosen_urls=tuple(dict.fromkeys((*strong.chosen_urls, *weak.chosen_urls))),
        find_links=tuple(dict.fromkeys((*strong.find_links, *weak.find_links))),
        no_index=weak.no_index if strong.no_index is None else strong.no_index,
        cert=strong.cert or weak.cert,
        client_cert=strong.client_cert or weak.client_cert,
        trusted_hosts=tuple(dict.fromkeys((*strong.trusted_hosts, *weak.trusted_hosts))),
        proxy=strong.proxy or weak.proxy,
        timeout_s=strong.timeout_s or weak.timeout_s,
        retries=weak.retries if strong.retries is None else strong.retries,
        keyring_provider=strong.keyring_provider or weak.keyring_provider,
    )


def _check_url(url: str) -> None:
    """Refuse what cannot be the URL of an index, without showing what may be a password. Raises UsageError."""
    path = find_path(url)
    if path:
        return
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_fine = False
    if not is_fine or "@" in parts.path:
        raise UsageError(f"`{_hide_login(url)}` is not the URL of an index", hint=_LOGIN_HINT)


def _hide_login(place: str) -> str:
    shown = drop_login(place) if "://" in place else place.rpartition("@")[2]
    return shown.partition("?")[0]


def _is_there(place: str) -> bool:
    path = find_path(place)
    return path is None or path.exists()


def _require_places(indexes: Indexes) -> None:
    """Refuse a place that options name and that is not there, and a default that is not. Raises UsageError."""
    for place in (*indexes.named_urls, *indexes.find_links):
        if not _is_there(place):
            raise UsageError(
                f"there is no `{_hide_login(place)}`", hint="name an index or a place with files by its URL or path"
            )


def _drop_missing(indexes: Indexes) -> Indexes:
    """Return places of this machine that exist alone; as in pip, others do not count."""
    return replace(
        indexes,
        extra_urls=tuple(url for url in indexes.extra_urls if url != indexes.default_url and _is_there(url)),
        chosen_urls=tuple((url, names) for url, names in indexes.chosen_urls if _is_there(url)),
        find_links=tuple(place for place in indexes.find_links if _is_there(place)),
    )


def find_indexes(
    environ: Mapping[str, str],
    *,
    project: Path,
    prefix: str | None = None,
    given: Indexes | None = None,
) -> Indexes:
    """Return where files may come from; local places of configurations that do not exist are left out.

    `given` is what options say, `prefix` the environment whose `pip.conf` counts, `project` the directory whose uv
    configuration does. Raises ReproError for a configuration that cannot be read, UsageError for what is no index.
    """
    given = given or Indexes()
    _require_places(given)
    layers = [
        given,
        _read_options(settings.get_uv_options(environ), environ, separator=","),
        _read_options(settings.get_pip_options(environ), environ),
        _read_options(_read_pip_files(settings.list_pip_files(environ, prefix)), environ),
        _read_uv_files(environ, os.path.abspath(project)),
        Indexes(cert=settings.find_certificates(environ)),
    ]
    found = reduce(_merge, layers)
    for url in (*found.named_urls, *found.find_links):
        _check_url(url)
    found = _drop_missing(found)
    _require_places(replace(found, extra_urls=(), chosen_urls=(), find_links=()))
    return found
