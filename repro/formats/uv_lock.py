"""`uv.lock` as a value: what it installs on one interpreter, with some extras and dependency groups.

uv documents no format for others to read, so what is not known here is refused: `uv export -o pylock.toml` says the
same as a standard. Read from the locks of uv 0.5 to 0.13 (version 1).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from repro.errors import InvalidSnapshotError
from repro.formats.direct_url import Archive, Directory, Index, Source, clean_url, make_vcs
from repro.formats.lockfile import Distribution, Snapshot, canonicalize_name
from repro.formats.target import Target, make_target
from repro.formats.toml import parse_toml
from repro.values import field, mutable

FILE_NAME = "uv.lock"
_VERSION = 1
_LOCAL = ("path", "directory", "editable", "virtual")
# How uv says in a marker which of conflicting extras or groups is asked for.
_CONFLICT = re.compile(r"extra\s*[=!]=\s*'(extra|group|project)-\d+-")
_HINT = "run `uv export -o pylock.toml` in its project, then name `pylock.toml`"

_Table = Mapping[str, object]


def _tables(value: object) -> list[_Table]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _text(table: _Table, key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _table(table: _Table, key: str) -> _Table:
    value = table.get(key)
    return value if isinstance(value, Mapping) else {}


@mutable
class _Walk:
    """The packages of a lock and what of them is reached."""

    where: str
    markers: Mapping[str, str]
    packages: Sequence[_Table]
    reached: dict[int, _Table] = field(default_factory=dict)
    via: dict[int, set[str]] = field(default_factory=dict)
    requested: set[int] = field(default_factory=set)
    done: set[tuple[int, str]] = field(default_factory=set)

    def fail(self, message: str) -> InvalidSnapshotError:
        return InvalidSnapshotError(f"`{self.where}`: {message}", hint=_HINT)

    def applies(self, dependency: _Table) -> bool:
        from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

        marker = _text(dependency, "marker")
        if not marker:
            return True
        if _CONFLICT.search(marker):
            raise self.fail("it has conflicting extras or groups, whose markers only uv reads")
        try:
            return Marker(marker).evaluate(dict(self.markers))
        except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName) as error:
            raise self.fail(f"the marker `{marker}` cannot be evaluated") from error

    def find(self, dependency: _Table) -> _Table:
        """Return the package a dependency means: by name, and by version and source where several have it."""
        name = _text(dependency, "name")
        found = [each for each in self.packages if _text(each, "name") == name]
        for key in ("version", "source"):
            if key in dependency:
                found = [each for each in found if each.get(key) == dependency[key]]
        found = [each for each in found if self.fits(each)] if len(found) > 1 else found
        if len(found) != 1:
            raise self.fail(f"{'several packages fit' if found else 'no package is'} `{name}`")
        return found[0]

    def fits(self, package: _Table) -> bool:
        listed = _texts(package.get("resolution-markers"))
        return not listed or any(self.applies({"marker": each}) for each in listed)

    def follow(self, dependencies: object, *, parent: str) -> None:
        """Reach every dependency that applies, with its extras, and what it requires; `parent` is "" at the root."""
        waiting = [(each, parent) for each in _tables(dependencies)]
        while waiting:
            dependency, above = waiting.pop()
            if not self.applies(dependency):
                continue
            package = self.find(dependency)
            self.reached[id(package)] = package
            if above:
                self.via.setdefault(id(package), set()).add(above)
            else:
                self.requested.add(id(package))
            name = _text(package, "name")
            for extra in ("", *_texts(dependency.get("extra"))):
                if (id(package), extra) not in self.done:
                    self.done.add((id(package), extra))
                    more = _table(package, "optional-dependencies").get(extra) if extra else package.get("dependencies")
                    waiting += [(each, name) for each in _tables(more)]


def _find_roots(packages: Sequence[_Table], manifest: _Table) -> list[_Table]:
    """Return the project the lock lies beside, else all members of its workspace."""
    beside = [each for each in packages if "." in (_table(each, "source").get(key) for key in _LOCAL)]
    if beside:
        return beside
    members = _texts(manifest.get("members"))
    return [each for each in packages if _text(each, "name") in members]


def _choose(walk: _Walk, roots: Sequence[_Table], kind: str, key: str, named: Collection[str]) -> None:
    """Follow the extras or groups that were named, in every root that has them."""
    for each in named:
        found = [(root, _table(root, key)[name]) for root in roots for name in _table(root, key) if _same(name, each)]
        if not found:
            known = sorted({f"`{name}`" for root in roots for name in _table(root, key)})
            raise InvalidSnapshotError(f"`{walk.where}` has no {kind} `{each}`; it has {', '.join(known) or 'none'}")
        for _, dependencies in found:
            walk.follow(dependencies, parent="")


def _same(name: str, other: str) -> bool:
    return canonicalize_name(name) == canonicalize_name(other)


def _read_git(walk: _Walk, url: str) -> Source:
    parts = urlsplit(url)
    if not re.fullmatch(r"[0-9a-f]{40,64}", parts.fragment):
        raise walk.fail(f"`{clean_url(url)}` names no commit")
    subdirectory = parse_qs(parts.query).get("subdirectory", [""])[0]
    try:
        return make_vcs(vcs="git", url=clean_url(url), commit=parts.fragment, subdirectory=subdirectory)
    except ValueError as error:
        raise walk.fail(str(error)) from error


def _list_hashes(package: _Table) -> tuple[str, ...]:
    files = [*_tables(package.get("wheels")), _table(package, "sdist")]
    return tuple(sorted({_text(each, "hash") for each in files if _text(each, "hash").startswith("sha256:")}))


def _find_source(walk: _Walk, package: _Table) -> Source:
    source = _table(package, "source")
    match source:
        case {"registry": str(url)}:
            return Index(url=clean_url(url)) if url.startswith(("http://", "https://")) else Index()
        case {"git": str(url)}:
            return _read_git(walk, url)
        case {"url": str(url)}:
            hashes = _list_hashes(package)
            return Archive(url=clean_url(url), sha256=hashes[0].removeprefix("sha256:") if hashes else None)
        case _ if any(key in source for key in _LOCAL):
            return Directory()
        case _:
            raise walk.fail(f"`{_text(package, 'name')}` has an unknown source")


def _describe(walk: _Walk, package: _Table) -> Distribution:
    return Distribution(
        name=canonicalize_name(_text(package, "name")),
        version=_text(package, "version") or "unknown",
        source=_find_source(walk, package),
        hashes=_list_hashes(package),
        requested=id(package) in walk.requested,
        via=tuple(sorted(walk.via.get(id(package), ()))),
    )


def _check_python(content: _Table, walk: _Walk) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    wanted = _text(content, "requires-python")
    try:
        fits = SpecifierSet(wanted).contains(walk.markers["python_full_version"], prereleases=True)
    except InvalidSpecifier as error:
        raise walk.fail(f"`{wanted}` is not a range of Python versions") from error
    if not fits:
        raise InvalidSnapshotError(
            f"`{walk.where}` is for Python {wanted}, not {walk.markers['python_full_version']}",
            hint="name another interpreter with `--python PATH`",
        )


def _iterate(walk: _Walk, roots: Sequence[_Table]) -> Iterator[Distribution]:
    seen: set[str] = set()
    for package in walk.reached.values():
        if any(package is root for root in roots):
            continue
        described = _describe(walk, package)
        if described.name in seen:
            raise walk.fail(f"two versions of `{described.name}` fit one environment")
        seen.add(described.name)
        yield described


def parse_uv_lock(
    text: str, *, where: str, target: Target | None = None, extras: Collection[str] = (), groups: Collection[str] = ()
) -> Snapshot:
    """Return what a uv.lock installs on `target` (default: here) beside its own project, without record digests.

    Raises ReproError where the file is not TOML, InvalidSnapshotError for what cannot be read or does not fit.
    """
    content = parse_toml(text, where=where)
    if content.get("version") != _VERSION:
        found = content.get("version")
        raise InvalidSnapshotError(f"`{where}` has format `{found}`; this repro reads {_VERSION}", hint=_HINT)
    target = target or make_target(None)
    walk = _Walk(where=where, markers=target.markers, packages=_tables(content.get("package")))
    _check_python(content, walk)
    manifest = _table(content, "manifest")
    roots = _find_roots(walk.packages, manifest)
    for root in roots:
        walk.follow(root.get("dependencies"), parent="")
    for requirement in _tables(manifest.get("requirements")):
        if "marker" not in requirement or walk.applies(requirement):
            walk.follow([{"name": _text(requirement, "name"), "extra": requirement.get("extras")}], parent="")
    _choose(walk, roots, "extra", "optional-dependencies", extras)
    _choose(walk, roots, "dependency group", "dev-dependencies", groups)
    distributions = sorted(_iterate(walk, roots), key=lambda each: each.name)
    return Snapshot(interpreter=None, distributions=tuple(distributions))
