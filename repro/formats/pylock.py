"""Read `pylock.toml` (PEP 751) as a snapshot: what it says of this machine's Python, names, versions and sources."""

from __future__ import annotations

from collections.abc import Iterator

from repro.errors import InvalidSnapshotError
from repro.formats.direct_url import Archive, Directory, Editable, Index, Source, Vcs, clean_url
from repro.formats.lockfile import Distribution, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packaging.pylock import Package, Pylock


def _load(text: str) -> dict[str, object]:
    """Return a TOML document. Raises ValueError."""
    try:
        import tomllib as toml  # type: ignore[import-not-found] # the types are those of Python 3.10
    except ModuleNotFoundError:
        import tomli as toml  # type: ignore[import-not-found] # pip-tools needs it there too
    return dict(toml.loads(text))


def _find_source(package: Package) -> Source:
    if package.vcs:
        vcs = package.vcs
        return Vcs(
            vcs=vcs.type, url=clean_url(vcs.url or ""), commit=vcs.commit_id, subdirectory=vcs.subdirectory or None
        )
    if package.directory:
        return Editable() if package.directory.editable else Directory()
    if package.archive:
        sha256 = package.archive.hashes.get("sha256")
        return Archive(url=clean_url(package.archive.url), sha256=sha256) if package.archive.url else Directory()
    return Index()


def _list_hashes(package: Package) -> Iterator[str]:
    digests = [wheel.hashes.get("sha256") for wheel in package.wheels or ()]
    digests += [package.sdist.hashes.get("sha256")] if package.sdist else []
    digests += [package.archive.hashes.get("sha256")] if package.archive else []
    yield from (f"sha256:{sha256}" for sha256 in digests if sha256)


def _read_packages(pylock: Pylock) -> Iterator[Distribution]:
    """Yield the distributions whose markers fit this Python, with neither extras nor other groups than the default."""
    for package in pylock.packages:
        groups = frozenset(pylock.default_groups or ())
        fits = {"extras": frozenset[str](), "dependency_groups": groups}
        if package.marker and not package.marker.evaluate(fits, context="lock_file"):
            continue
        yield Distribution(
            name=package.name,
            version=str(package.version or "0"),
            source=_find_source(package),
            hashes=tuple(dict.fromkeys(_list_hashes(package))),
        )


def parse_pylock(text: str, *, where: str) -> Snapshot:
    """Return the snapshot of a pylock.toml: names, versions, sources and hashes; no Python, no record digests.

    Raises InvalidSnapshotError, which names the place of the fault.
    """
    from packaging.pylock import Pylock, PylockValidationError

    try:
        pylock = Pylock.from_dict(_load(text))
    except (PylockValidationError, ValueError, RecursionError) as error:
        raise InvalidSnapshotError(
            f"`{where}` is not a pylock.toml: {error}", hint="let the tool that wrote it write it again (PEP 751)"
        ) from error
    found: dict[str, Distribution] = {}
    faults = []
    for distribution in _read_packages(pylock):
        if distribution.name in found:
            faults.append(f"`{distribution.name}` stands twice for this Python")
        found[distribution.name] = distribution
    if faults:
        raise InvalidSnapshotError(f"`{where}` is ambiguous", details=tuple(faults))
    return Snapshot(interpreter=None, distributions=tuple(found[name] for name in sorted(found)))
