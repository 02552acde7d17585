"""A plain requirements file, every line pinned: read as a snapshot with fewer guarantees, and written (PEP 508)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from repro.errors import InvalidSnapshotError
from repro.formats.lockfile import (
    Distribution,
    Interpreter,
    Snapshot,
    canonicalize_name,
    format_pin,
    format_requirement,
    is_hash,
)
from repro.formats.target import make_target


def join_continued(text: str) -> list[tuple[int, str]]:
    """Return the lines of a requirements file with their numbers: continued ones joined, comments taken away."""
    lines: list[tuple[int, str]] = []
    open_line = False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            continue
        body = stripped.partition(" #")[0].rstrip()
        if open_line:
            lines[-1] = (lines[-1][0], lines[-1][1] + " " + body.rstrip("\\").strip())
        elif body:
            lines.append((number, body.rstrip("\\").strip()))
        open_line = body.endswith("\\")
    return lines


def _applies(marker: Marker, get_variables: Callable[[], Mapping[str, str]] | None) -> bool:
    """Tell whether a marker lets its line stand, for the Python that the file is read for. Raises ValueError."""
    if get_variables is None:
        raise ValueError(f"which Python the marker `{marker}` is for is not known here")
    try:
        return marker.evaluate(dict(get_variables()))
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ValueError(f"the marker `{marker}` cannot be judged ({error})") from error


def _read_hash(text: str) -> str:
    if not is_hash(text):
        raise ValueError(f"`{text}` is not a sha256 hash (`sha256:` and 64 hexadecimal digits)")
    return text


def _read_line(line: str, get_variables: Callable[[], Mapping[str, str]] | None) -> Distribution | None:
    """Return the pinned distribution of a line, None where its marker leaves it out; ValueError otherwise."""
    if line.startswith("-"):
        raise ValueError(f"`{line}` is an option, not a pinned requirement")
    pin, *options = line.split(" --hash=")
    try:
        requirement = Requirement(pin.strip())
    except InvalidRequirement as error:
        raise ValueError(f"`{pin.strip()}` is not a requirement") from error
    specifiers = list(requirement.specifier)
    if requirement.url or len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
        raise ValueError(f"`{pin.strip()}` is not pinned with `==`")
    if requirement.marker and not _applies(requirement.marker, get_variables):
        return None
    return Distribution(
        name=canonicalize_name(requirement.name),
        version=specifiers[0].version,
        hashes=tuple(_read_hash(option.strip()) for option in options),
    )


def parse_pinned_requirements(
    text: str, *, where: str, get_python: Callable[[], Interpreter] | None = None
) -> Snapshot:
    """Return the snapshot of a pinned requirements file: names, versions, hashes; no Python, no record digests.

    Markers are those of the Python that `get_python` returns. Raises InvalidSnapshotError, which names every line that
    is not pinned, and each with a marker where no Python is known.
    """
    get_variables = cache(lambda: make_target(get_python()).markers) if get_python else None
    found: dict[str, Distribution] = {}
    lines, faults = join_continued(text), []
    if not lines:
        raise InvalidSnapshotError(f"`{where}` names no distribution", hint="take a snapshot with `repro snapshot`")
    for number, line in lines:
        try:
            entry = _read_line(line, get_variables)
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        if entry and entry.name in found:
            faults.append(f"line {number}: `{entry.name}` stands twice")
        elif entry:
            found[entry.name] = entry
    hashed = [name for name, entry in found.items() if entry.hashes]
    if hashed and len(hashed) < len(found):
        faults += [f"`{name}` has no hash, though others have" for name in sorted(set(found) - set(hashed))]
    if faults:
        raise InvalidSnapshotError(
            f"`{where}` is neither a lock of repro nor fully pinned",
            hint="take a snapshot with `repro snapshot`",
            details=tuple(faults),
        )
    return Snapshot(interpreter=None, distributions=tuple(found[name] for name in sorted(found)))


def format_pins(snapshot: Snapshot) -> tuple[str, ...]:
    """Return a requirement without hashes for each distribution: a version, a URL, or a commit."""
    return tuple(format_pin(each) for each in snapshot.distributions)


def format_requirements(snapshot: Snapshot, *, find_links: str | None = None) -> str:
    """Return a plain requirements file: every line hashed, or pins alone where the snapshot has no hashes."""
    lines = [f"--extra-index-url {url}" for url in snapshot.index_urls]
    lines += [f"--find-links {find_links}"] if find_links else []
    pins = map(format_requirement, snapshot.distributions) if snapshot.is_hashed else format_pins(snapshot)
    return "".join(f"{line}\n" for line in (*lines, *pins))
