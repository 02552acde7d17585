"""`pylock.toml` (PEP 751): read what it installs on one interpreter, and write a snapshot as one.

packaging.pylock checks and selects; docs/formats.md says what of the file a lock of ours keeps.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.errors import InvalidSnapshotError, ReproError
from repro.formats.direct_url import Archive, Directory, Editable, Index, Local, Source, Vcs, clean_url, make_vcs
from repro.formats.lockfile import Distribution, Interpreter, Snapshot, is_version
from repro.formats.moment import read_upload_time
from repro.formats.simple_index import IndexFile
from repro.formats.toml import format_toml, parse_toml
from repro.values import frozen

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock

    from repro.formats.target import Target

FILE_NAME = "pylock.toml"
UNKNOWN_VERSION = "unknown"


def is_pylock_name(name: str) -> bool:
    """Tell whether a file name is `pylock.toml` or `pylock.<word>.toml`."""
    parts = name.split(".")
    return parts[0] == "pylock" and parts[-1] == "toml" and len(parts) in (2, 3)


def _list_files(package: Package) -> list[PackageWheel | PackageSdist]:
    return [*(package.wheels or ()), *((package.sdist,) if package.sdist else ())]


def _read_hashes(files: Sequence[PackageWheel | PackageSdist]) -> tuple[str, ...]:
    found = {f"sha256:{each.hashes['sha256'].lower()}" for each in files if "sha256" in each.hashes}
    return tuple(sorted(found))


def _find_version(package: Package) -> str:
    """Return the version, from a file's name where the package says none (PEP 751 lets it)."""
    from packaging.utils import parse_sdist_filename, parse_wheel_filename

    if package.version:
        return str(package.version)
    if package.sdist:
        return str(parse_sdist_filename(package.sdist.filename)[1])
    if package.wheels:
        return str(parse_wheel_filename(package.wheels[0].filename)[1])
    return UNKNOWN_VERSION


def _find_source(package: Package) -> Source:
    if package.vcs:
        return make_vcs(
            vcs=package.vcs.type,
            url=clean_url(package.vcs.url) if package.vcs.url else None,
            commit=package.vcs.commit_id,
            subdirectory=package.vcs.subdirectory,
        )
    if package.directory:
        return Editable() if package.directory.editable else Directory()
    if package.archive:
        sha256 = package.archive.hashes.get("sha256")
        return Archive(url=clean_url(package.archive.url), sha256=sha256) if package.archive.url else Directory()
    if not any(each.url for each in _list_files(package)):
        return Local()
    is_remote = (package.index or "").startswith(("http://", "https://"))
    return Index(url=clean_url(package.index)) if package.index and is_remote else Index()


def _describe(package: Package, via: Sequence[str], where: str) -> Distribution:
    try:
        source = _find_source(package)
    except ValueError as error:
        raise InvalidSnapshotError(f"`{where}` cannot be read: {error} in the package `{package.name}`") from error
    archived = (f"sha256:{source.sha256}",) if isinstance(source, Archive) and source.sha256 else ()
    return Distribution(
        name=package.name,
        version=_find_version(package),
        source=source,
        hashes=archived or _read_hashes(_list_files(package)),
        via=tuple(via),
    )


def _collect_via(packages: Sequence[Package]) -> dict[str, list[str]]:
    """Return who requires each package, as far as the file says it (`dependencies` is information only)."""
    via: dict[str, list[str]] = {}
    for package in packages:
        for dependency in package.dependencies or ():
            name = dependency.get("name")
            if isinstance(name, str) and name != package.name:
                via.setdefault(name, []).append(package.name)
    return {name: sorted(set(names)) for name, names in via.items()}


def _load(text: str, where: str) -> Pylock:
    from packaging.pylock import Pylock, PylockValidationError

    try:
        return Pylock.from_dict(parse_toml(text, where=where))
    except PylockValidationError as error:
        reason = str(error)
    except ReproError as error:
        reason = error.message
    raise InvalidSnapshotError(
        f"`{where}` is not a pylock.toml: {reason}", hint="let the tool that wrote it write it again (PEP 751)"
    )


def _check_choices(pylock: Pylock, extras: Collection[str], groups: Collection[str] | None, where: str) -> None:
    for kind, named, known in (
        ("extra", extras, pylock.extras),
        ("dependency group", groups or (), pylock.dependency_groups),
    ):
        for each in named:
            if each not in (known or ()):
                there = ", ".join(f"`{one}`" for one in known or ()) or "none"
                raise InvalidSnapshotError(f"`{where}` has no {kind} `{each}`; it has {there}")


def _select(
    pylock: Pylock, target: Target, extras: Collection[str], groups: Collection[str] | None, where: str
) -> list[Package]:
    """Return what an installer takes on the target. Raises InvalidSnapshotError where the file does not fit it."""
    from packaging.pylock import PylockSelectError

    try:
        chosen = pylock.select(
            environment=target.markers,  # type: ignore[arg-type] # a TypedDict of the same keys
            tags=target.tags,
            extras=extras,
            dependency_groups=groups,
        )
        return [package for package, _ in chosen]
    except PylockSelectError as error:
        raise InvalidSnapshotError(
            f"`{where}` does not fit Python {target.markers['python_full_version']}: {error}",
            hint="name another interpreter with `--python PATH`",
        ) from error


def _filter(pylock: Pylock, where: str) -> list[Package]:
    """Return the packages whose markers fit here, by default groups alone, whatever Python the file is for."""
    choices = {"extras": frozenset[str](), "dependency_groups": frozenset(pylock.default_groups or ())}
    found = [
        package
        for package in pylock.packages
        if package.marker is None or package.marker.evaluate(choices, context="lock_file")
    ]
    names = [package.name for package in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        details = tuple(f"`{name}` stands twice for this Python" for name in twice)
        raise InvalidSnapshotError(f"`{where}` is ambiguous", details=details)
    return found


def parse_pylock(
    text: str,
    *,
    where: str,
    target: Target | None = None,
    extras: Collection[str] = (),
    groups: Collection[str] | None = None,
) -> Snapshot:
    """Return what a pylock.toml installs on `target`, its default groups unless `groups` are named.

    Without a target it is what its markers select here, to be compared: neither its Python nor its files need to fit.
    The snapshot has no interpreter and no record digests. Raises InvalidSnapshotError for a file that is no
    pylock.toml or does not fit the target.
    """
    pylock = _load(text, where)
    _check_choices(pylock, extras, groups, where)
    packages = _select(pylock, target, extras, groups, where) if target else _filter(pylock, where)
    via = _collect_via(packages)
    distributions = [_describe(package, via.get(package.name, ()), where) for package in packages]
    return Snapshot(interpreter=None, distributions=tuple(sorted(distributions, key=lambda each: each.name)))


def _is_plain(source: Archive | Vcs) -> bool:
    """Tell whether a URL, and the commit behind it, can stand in a line of a requirements file."""
    word = source.format_url() if isinstance(source, Vcs) else source.url
    return word is not None and word.isprintable() and word.isascii() and " " not in word


def find_unlockable(snapshot: Snapshot, *, where: str) -> Iterator[str]:
    """Yield one sentence for each distribution that a lock cannot say: a local path, no hash, nonsense."""
    for each in snapshot.distributions:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each.name):
            yield f"{where}: `{each.name}` is not the name of a distribution"
        elif isinstance(each.source, Archive | Vcs) and not _is_plain(each.source):
            yield f"{where}: `{each.name}` has a URL or a commit that is none"
        elif isinstance(each.source, Directory | Editable | Local):
            yield f"{where}: `{each.name}` is a local path, which means nothing on another machine"
        elif not is_version(each.version):
            yield f"{where}: `{each.name}` has no version"
        elif not each.hashes and not isinstance(each.source, Vcs):
            yield f"{where}: `{each.name}` has no sha256"


@frozen
class LocalFile:
    """A file that lies beside the pylock.toml, at the relative `path`, with `/` between its parts."""

    path: str
    sha256: str
    size_bytes: int

    @property
    def filename(self) -> str:
        """Its name, which says what it is."""
        return self.path.rpartition("/")[2]


def _make_wheel(file: IndexFile | LocalFile) -> PackageWheel:
    from packaging.pylock import PackageWheel

    hashes = {"sha256": str(file.sha256)}
    if isinstance(file, LocalFile):
        return PackageWheel(path=file.path, size=file.size_bytes, hashes=hashes)
    return PackageWheel(
        url=clean_url(file.url),
        upload_time=read_upload_time(file.upload_time),
        size=file.size_bytes,
        hashes=hashes,
    )


def _make_sdist(file: IndexFile | LocalFile) -> PackageSdist:
    from packaging.pylock import PackageSdist

    wheel = _make_wheel(file)
    return PackageSdist(
        url=wheel.url, path=wheel.path, upload_time=wheel.upload_time, size=wheel.size, hashes=wheel.hashes
    )


def _make_package(
    distribution: Distribution, files: Sequence[IndexFile | LocalFile], requires: Sequence[str]
) -> Package:
    from packaging.pylock import Package, PackageArchive, PackageVcs
    from packaging.utils import NormalizedName
    from packaging.version import Version

    def make(**content: Any) -> Package:
        return Package(
            name=NormalizedName(distribution.name),
            version=Version(distribution.version),
            dependencies=[{"name": name} for name in requires] or None,
            **content,
        )

    match distribution.source:
        case Vcs(vcs=vcs, url=url, commit=commit, subdirectory=subdirectory) if not distribution.kept:
            return make(vcs=PackageVcs(type=vcs, url=url, commit_id=commit, subdirectory=subdirectory))
        case Archive(url=url) if not distribution.kept:
            sha256 = distribution.hashes[0].removeprefix("sha256:")
            return make(archive=PackageArchive(url=url, hashes={"sha256": sha256}))
    ordered = sorted(files, key=lambda each: each.filename)
    sdist = next((each for each in ordered if not each.filename.endswith(".whl")), None)
    wheels = [_make_wheel(each) for each in ordered if each.filename.endswith(".whl")]
    index = next((each.index for each in ordered if isinstance(each, IndexFile)), "")
    return make(
        index=clean_url(index) if index.startswith(("http://", "https://")) else None,
        sdist=_make_sdist(sdist) if sdist else None,
        wheels=wheels or None,
    )


def _list_environments(python: Interpreter) -> list[Marker]:
    """Return the markers of the interpreter a lock is for; its X.Y stands in `requires-python`."""
    from packaging.markers import Marker

    system, _, machine = python.platform.partition("-")
    facts = {"implementation_name": python.implementation, "sys_platform": system, "platform_machine": machine}
    return [Marker(" and ".join(f"{key} == '{value}'" for key, value in facts.items() if value))]


def format_pylock(snapshot: Snapshot, files: Mapping[str, Sequence[IndexFile | LocalFile]]) -> str:
    """Return the pylock.toml of a snapshot whose files are known by canonical name; equal input gives equal text.

    Every distribution has to have files, but a commit or an archive. Raises ValueError for what PEP 751 cannot say.
    """
    from packaging.pylock import Pylock, PylockValidationError
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    requires: dict[str, list[str]] = {}
    for each in snapshot.distributions:
        for name in each.via:
            requires.setdefault(name, []).append(each.name)
    python = snapshot.interpreter
    pylock = Pylock(
        lock_version=Version("1.0"),
        environments=_list_environments(python) if python else None,
        requires_python=SpecifierSet(f"=={python.minor}.*") if python else None,
        created_by="repro",
        packages=[
            _make_package(each, files.get(each.name, ()), sorted(requires.get(each.name, ())))
            for each in snapshot.distributions
        ],
    )
    try:
        pylock.validate()
    except PylockValidationError as error:
        raise ValueError(str(error)) from error
    return format_toml(pylock.to_dict())
