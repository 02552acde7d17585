"""Tell which distributions a run has used: by the files they own, never by the name of a package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from repro.patterns import compile_later
from repro.snapshots.owners import Owner
from repro.snapshots.trace import Trace
from repro.values import field, frozen

_EXTENSION = compile_later(r"\.(so|pyd)$|\.py[co]?$")


@frozen
class Sighting:
    """What was seen of a run: imported files `inside` each site directory, relative to it, and `outside` all of them.

    `names` are modules that are known by name only.
    """

    inside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


@frozen
class Attribution:
    """Which distributions own what was seen: the names of the `used` ones, and the owner of each library's path."""

    used: frozenset[str] = frozenset()
    library_owners: Mapping[str, str] = field(default_factory=dict)


def sort_paths(paths: Iterable[str], roots: Iterable[str]) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """Return the paths below each root, relative to it, and those below none; the longest root wins."""
    inside: dict[str, set[str]] = {root: set() for root in sorted(roots, key=len, reverse=True)}
    outside = set()
    for path in paths:
        root = next((root for root in inside if path.startswith(root + "/")), None)
        if root is None:
            outside.add(path)
        else:
            inside[root].add(path[len(root) + 1 :])
    return {root: frozenset(found) for root, found in inside.items()}, frozenset(outside)


def make_sighting(trace: Trace, roots: Iterable[str]) -> Sighting:
    """Return a trace sorted by site directories."""
    inside, outside = sort_paths(trace.paths, roots)
    return Sighting(inside=inside, outside=outside, names=trace.names)


def name_module(row: str) -> str | None:
    """Return the dotted name of the module that a row of RECORD is, whatever tag its suffix carries."""
    directory, _, file_name = row.rpartition("/")
    if row.startswith(("/", "../")) or not _EXTENSION.search(file_name) or directory.endswith("__pycache__"):
        return None
    stem = file_name.partition(".")[0]
    path = directory if stem == "__init__" else f"{directory}/{stem}" if directory else stem
    return path.replace("/", ".") or None


def _owns_by_name(owner: Owner, names: frozenset[str]) -> bool:
    return any(name_module(row) in names for row in owner.rows) or any(
        name.partition(".")[0] in owner.modules for name in names
    )


def _lies_in(path: str, directories: tuple[str, ...]) -> bool:
    return path.startswith(tuple(f"{directory}/" for directory in directories))


def _owns_top_level(owner: Owner, relative: frozenset[str]) -> bool:
    """Tell whether one of the files belongs to a top-level module: all that is known where there is no RECORD."""
    return any(re.split(r"[/.]", path, maxsplit=1)[0] in owner.modules for path in relative)


def is_used(owner: Owner, sighting: Sighting) -> bool:
    """Tell whether a distribution owns anything of what was seen."""
    for root in owner.roots:
        relative = sighting.inside.get(root, frozenset())
        if relative and (not relative.isdisjoint(owner.rows) or (owner.modules and _owns_top_level(owner, relative))):
            return True
    if owner.directories and any(_lies_in(path, owner.directories) for path in sighting.outside):
        return True
    return bool(sighting.names) and _owns_by_name(owner, sighting.names)


def _owned_among(owner: Owner, inside: Mapping[str, frozenset[str]]) -> Iterable[str]:
    for root in owner.roots:
        if relative := inside.get(root):
            yield from (f"{root}/{row}" for row in relative.intersection(owner.rows))


def attribute(trace: Trace, owners: Iterable[Owner], roots: tuple[str, ...]) -> Attribution:
    """Return which distributions own what a run has imported and the libraries it has loaded."""
    if not (trace.paths or trace.names or any(process.libraries for process in trace.processes)):
        return Attribution()  # and no RECORD is read
    sighting = make_sighting(trace, roots)
    libraries, _ = sort_paths((each.path for process in trace.processes for each in process.libraries), roots)
    used = set()
    library_owners = {}
    for owner in owners:
        owned = dict.fromkeys(_owned_among(owner, libraries), f"{owner.name}=={owner.version}")
        library_owners.update(owned)
        if owned or is_used(owner, sighting):
            used.add(owner.name)
    return Attribution(used=frozenset(used), library_owners=library_owners)
