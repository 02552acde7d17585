"""Read which files each installed distribution owns, from its RECORD (PyPA "Recording installed projects")."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from repro.formats.lockfile import canonicalize_name
from repro.formats.record import read_paths
from repro.snapshots.probe import Found
from repro.values import frozen

_SITES = ("site-packages", "dist-packages")


@frozen
class Owner:
    """A distribution and what is its own: `rows`, files relative to each of `roots`, the two names of one directory.

    `directories` are the two names of the working copy of an editable one; `modules` are the top-level modules of one
    without RECORD.
    """

    name: str
    version: str
    roots: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


@lru_cache(maxsize=64)
def name_twice(directory: str) -> tuple[str, ...]:
    """Return a directory as it is named and, where that differs, as it is without links."""
    return tuple(dict.fromkeys((os.path.normpath(directory), os.path.realpath(directory))))


def _read(*parts: str) -> str | None:
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _find_working_copy(found: Found) -> str | None:
    """Return the directory that an editable distribution is imported from."""
    if found.entry.endswith(".egg-info") and os.path.basename(found.site) not in _SITES:
        return found.site  # `setup.py develop`: a .pth file leads to the project's own directory
    try:
        content = json.loads(found.direct_url) if found.direct_url else {}
        if content.get("dir_info", {}).get("editable") and content["url"].startswith("file:"):
            return unquote(urlsplit(content["url"]).path)
    except (ValueError, AttributeError, KeyError, TypeError):
        pass
    return None


def _read_modules(found: Found) -> tuple[str, ...]:
    """Return the top-level modules of a distribution without RECORD: as it lists them, else its own name."""
    text = _read(found.site, found.entry, "top_level.txt")
    return tuple(text.split()) if text else (canonicalize_name(found.name).replace("-", "_"),)


def read_owner(found: Found) -> Owner:
    """Return what an installed distribution owns."""
    name = canonicalize_name(found.name)
    if directory := _find_working_copy(found):
        rows = tuple(read_paths(_read(found.site, found.entry, "RECORD") or ""))
        return Owner(name=name, version=found.version, roots=name_twice(found.site), rows=rows,
                     directories=name_twice(directory))  # fmt: skip
    record = _read(found.site, found.entry, "RECORD") if found.record else None
    if record is None:
        modules = _read_modules(found)
        return Owner(name=name, version=found.version, roots=name_twice(found.site), modules=modules)
    return Owner(name=name, version=found.version, roots=name_twice(found.site), rows=tuple(read_paths(record)))


def read_owners(founds: Iterable[Found]) -> Iterator[Owner]:
    """Read one owner after the other, so that no more than one RECORD is in memory."""
    return map(read_owner, founds)


def find_roots(founds: Iterable[Found]) -> tuple[str, ...]:
    """Return the site directories, each by both its names; a working copy that lies on `sys.path` is none."""
    sites = dict.fromkeys(found.site for found in founds if _find_working_copy(found) != found.site)
    return tuple(dict.fromkeys(root for site in sites for root in name_twice(site)))


def resolve_paths(paths: Iterable[str], roots: tuple[str, ...]) -> frozenset[str]:
    """Return the paths, those below no root without links in their directories: a prefix has more names than two."""
    starts = tuple(f"{root}/" for root in roots)
    real: dict[str, str] = {}
    found = set()
    for path in paths:
        directory, _, name = path.rpartition("/")
        if not path.startswith(starts) or "/../" in path:
            if directory not in real:
                real[directory] = os.path.realpath(directory)
            directory = real[directory]
        found.add(f"{directory}/{name}")
    return frozenset(found)
