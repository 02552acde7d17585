"""`r-dependencies.txt`: the version of R and the packages that a run's R processes had loaded.

In R's own format (DCF, `?read.dcf`): a stanza for R, then one for each package, sorted by name. A lock of packrat's,
which has more fields, is read too. A package that comes with R itself (`base`, `stats`) is not listed: it has R's
version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from repro.errors import ProjectError
from repro.values import frozen

FILE_NAME = "r-dependencies.txt"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RPackage:
    """An R package; `source` is where it came from as far as it says so itself (`CRAN`, `github@<commit>`)."""

    name: str
    version: str
    source: str = "unknown"


@frozen
class RDependencies:
    """R's version and platform, and packages sorted by name."""

    r_version: str
    platform: str | None
    packages: tuple[RPackage, ...]


@frozen
class RDifference:
    """A package, or `R` itself, that is not as it was recorded; None where it is not there."""

    name: str
    recorded: str
    installed: str | None


def _read_stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each stanza; a line that begins with a space goes on with the one before."""
    stanza: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if stanza:
                yield stanza
            stanza, last = {}, ""
        elif line[0].isspace():
            if last:
                stanza[last] += f" {line.strip()}"
        else:
            last, _, value = line.partition(":")
            stanza[last] = value.strip()


def parse_r_dependencies(text: str, *, where: str) -> RDependencies:
    """Return what a file records. Raises ProjectError where it is none."""
    stanzas = list(_read_stanzas(text))
    if not stanzas or not stanzas[0].get("RVersion"):
        raise ProjectError(f"`{where}` does not begin with `RVersion: X.Y.Z`", hint="remove it, and run once more")
    packages = []
    for stanza in stanzas[1:]:
        if not stanza.get("Package") or not stanza.get("Version"):
            known = ", ".join(f"{key}: {value}" for key, value in stanza.items())
            raise ProjectError(f"`{where}` has a package without name or version: `{known}`")
        source = stanza.get("Source") or "unknown"
        packages.append(RPackage(name=stanza["Package"], version=stanza["Version"], source=source))
    return RDependencies(
        r_version=stanzas[0]["RVersion"], platform=stanzas[0].get("Platform") or None, packages=tuple(sorted(packages))
    )


def format_r_dependencies(dependencies: RDependencies) -> str:
    """Return the file's text."""
    first = [f"RVersion: {dependencies.r_version}"]
    first += [f"Platform: {dependencies.platform}"] if dependencies.platform else []
    stanzas = [
        f"Package: {each.name}\nSource: {each.source}\nVersion: {each.version}" for each in dependencies.packages
    ]
    return "\n\n".join(["\n".join(first), *stanzas]) + "\n"


def merge(noted: Iterable[RDependencies]) -> RDependencies | None:
    """Return what all processes of a run together had loaded; the versions of the first win."""
    several = list(noted)
    if not several:
        return None
    packages: dict[str, RPackage] = {}
    for each in several:
        for package in each.packages:
            packages.setdefault(package.name, package)
    return RDependencies(
        r_version=several[0].r_version, platform=several[0].platform, packages=tuple(sorted(packages.values()))
    )


def compare_r(recorded: RDependencies, found: RDependencies | None, *, missing: bool) -> tuple[RDifference, ...]:
    """Return what differs from the record, R first; None is no R at all.

    With `missing` a package that is not there counts, else only another version of one that is.
    """
    if found is None:
        return (RDifference(name="R", recorded=recorded.r_version, installed=None),)
    here = {each.name: each.version for each in found.packages}
    differences = []
    if found.r_version != recorded.r_version:
        differences.append(RDifference(name="R", recorded=recorded.r_version, installed=found.r_version))
    for each in recorded.packages:
        version = here.get(each.name)
        if version != each.version and (missing or version is not None):
            differences.append(RDifference(name=each.name, recorded=each.version, installed=version))
    return tuple(differences)
