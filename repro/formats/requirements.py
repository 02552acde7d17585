"""A plain requirements file, every line pinned: read as a snapshot with fewer guarantees, and written (PEP 508)."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement

from repro.errors import InvalidSnapshotError
from repro.formats.direct_url import Archive, Vcs
from repro.formats.lockfile import Distribution, Snapshot, canonicalize_name, format_requirement


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


def format_pins(snapshot: Snapshot) -> tuple[str, ...]:
    """Return a requirement without hashes for each distribution: a version, a URL, or a commit."""
    return tuple(_format_pin(each) for each in snapshot.distributions)


def _format_pin(distribution: Distribution) -> str:
    match distribution.source:
        case Vcs() as vcs if not distribution.kept:
            return f"{distribution.name} @ {vcs.format_url()}"
        case Archive(url=url) if not distribution.kept:
            return f"{distribution.name} @ {url}"
        case _:
            return f"{distribution.name}=={distribution.version}"


def format_requirements(snapshot: Snapshot, *, find_links: str | None = None) -> str:
    """Return a plain requirements file: every line hashed, or pins alone where the snapshot has no hashes."""
    lines = [f"--extra-index-url {url}" for url in snapshot.index_urls]
    lines += [f"--find-links {find_links}"] if find_links else []
    pins = map(format_requirement, snapshot.distributions) if snapshot.is_hashed else format_pins(snapshot)
    return "".join(f"{line}\n" for line in (*lines, *pins))
