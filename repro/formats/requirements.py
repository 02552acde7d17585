"""A plain requirements file, every line pinned, read as a snapshot with fewer guarantees (PEP 508)."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement

from repro.errors import InvalidSnapshotError
from repro.formats.lockfile import Distribution, Snapshot, canonicalize_name


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


def _read_line(line: str) -> Distribution | None:
    """Return the pinned distribution of a line, None where its marker leaves it out here; ValueError otherwise."""
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
    if requirement.marker and not requirement.marker.evaluate():
        return None
    return Distribution(
        name=canonicalize_name(requirement.name),
        version=specifiers[0].version,
        hashes=tuple(option.strip() for option in options),
    )


def parse_pinned_requirements(text: str, *, where: str) -> Snapshot:
    """Return the snapshot of a pinned requirements file: names, versions, hashes; no Python, no record digests.

    Raises InvalidSnapshotError, which names every line that is not pinned.
    """
    found: dict[str, Distribution] = {}
    faults = []
    for number, line in join_continued(text):
        try:
            entry = _read_line(line)
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
