"""Describe what a probe found as a snapshot: a pure function of its report and of what is known of each file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import repro
from repro.errors import ReproError
from repro.formats.direct_url import (
    Archive,
    Checkout,
    Directory,
    Editable,
    Index,
    Local,
    Source,
    System,
)
from repro.formats.lockfile import Distribution, Proof, Snapshot, canonicalize_name, is_name
from repro.snapshots.memory import Altered, Artefact
from repro.snapshots.origin import find_source
from repro.snapshots.probe import Found, Report
from repro.values import field, frozen, replace

TOOL = f"repro {repro.__version__}"
_LEADING_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ALTERED = "files were changed after it was installed"


@frozen
class Known:
    """What is known beyond the report: by canonical name the artefact, the altered files and the working copy."""

    artefacts: Mapping[str, Artefact] = field(default_factory=dict)
    altered: Mapping[str, Altered] = field(default_factory=dict)
    checkouts: Mapping[str, Checkout] = field(default_factory=dict)


def _find_source(found: Found, prefix: str) -> Source:
    return find_source(
        site=found.site,
        entry=found.entry,
        prefix=prefix,
        is_of_conda=found.installer == "conda",
        direct_url=found.direct_url,
    )


def choose_founds(founds: Iterable[Found]) -> tuple[dict[str, Found], list[str]]:
    """Return the distribution that Python would import for each name, and a note for each it hides."""
    chosen: dict[str, Found] = {}
    notes = []
    for found in founds:
        name = canonicalize_name(found.name)
        earlier = chosen.get(name)
        if earlier is None:
            chosen[name] = found
            continue
        kept, dropped = earlier, found
        if found.site == earlier.site and (found.record is not None, found.version) > (
            earlier.record is not None,
            earlier.version,
        ):
            kept, dropped = found, earlier
        chosen[name] = kept
        if dropped.entry.endswith(".egg-info") and dropped.version == kept.version:
            continue  # what setuptools leaves in a working copy that is also installed
        notes.append(f"`{name}` is installed twice; {kept.version} is taken, {dropped.version} is left out")
    return chosen, notes


def _why_unreadable(name: str, found: Found) -> str | None:
    """Return why a distribution can stand in no lock, None where it can."""
    if not name:
        return "it has no name"
    if not is_name(name):
        return f"`{found.name}` is no name (letters and digits, with `.`, `_` or `-` between them)"
    return None if found.version else "it has no version"


def require_readable(chosen: Mapping[str, Found], *, allow_missing: bool) -> tuple[dict[str, Found], list[str]]:
    """Return the distributions whose name and version can be read, and a note for each that cannot.

    Raises ReproError for these unless `allow_missing`.
    """
    reasons = {name: _why_unreadable(name, found) for name, found in chosen.items()}
    unreadable = [f"{chosen[name].entry}: {reason}" for name, reason in reasons.items() if reason]
    if unreadable and not allow_missing:
        raise ReproError(
            f"{len(unreadable)} distribution(s) have no name and version that a lock could hold",
            hint="reinstall or remove them, or leave them out with `--allow-missing`",
            details=tuple(unreadable),
        )
    readable = {name: found for name, found in chosen.items() if not reasons[name]}
    return readable, [f"{each}; it is left out" for each in unreadable]


def _find_required_by(founds: Mapping[str, Found]) -> dict[str, set[str]]:
    """Return by whom each name is required; requirements of extras are left out, other markers not evaluated."""
    via: dict[str, set[str]] = {}
    for name, found in founds.items():
        for requirement in found.requires:
            if "extra" in requirement and "extra" in requirement.partition(";")[2]:
                continue
            if match := _LEADING_NAME.match(requirement):
                via.setdefault(canonicalize_name(match[0]), set()).add(name)
    return via


def _add_checkout(source: Source, checkout: Checkout | None) -> Source:
    if checkout and isinstance(source, Directory | Editable):
        return replace(source, checkout=checkout)
    return source


def _apply_artefact(bare: Distribution, artefact: Artefact) -> Distribution:
    """Return a distribution with the file it was found to come from."""
    source = bare.source
    if isinstance(source, Editable) and not artefact.kept:
        return bare  # its RECORD lists the link to the working copy, not what is imported
    if isinstance(source, Index):
        source = Local() if artefact.local else Index(url=artefact.index) if artefact.index else source
    return replace(
        bare,
        source=source,
        record=artefact.record,
        file=artefact.file,
        hashes=artefact.hashes or bare.hashes,
        kept=artefact.kept,
        proof=artefact.proof,
        reason=artefact.reason,
    )


def _apply_altered(bare: Distribution, altered: Altered) -> Distribution:
    """Return a distribution as what its files are now, not what RECORD says."""
    local = replace(bare, source=Local(), modified=altered.files, proof=Proof.UNPROVEN, reason=_ALTERED)
    if altered.artefact is None:
        return replace(local, hashes=(), file=None, kept=False)
    return replace(_apply_artefact(local, altered.artefact), proof=Proof.UNPROVEN, reason=_ALTERED)


def _describe_one(name: str, found: Found, source: Source, known: Known, via: Iterable[str]) -> Distribution:
    stated = source.sha256 if isinstance(source, Archive) else None
    bare = Distribution(
        name=name,
        version=found.version,
        source=_add_checkout(source, known.checkouts.get(name)),
        hashes=(f"sha256:{stated}",) if stated else (),
        requested=found.requested,
        via=tuple(sorted(set(via) - {name})),
    )
    altered = known.altered.get(name)
    if altered and not isinstance(source, System):
        return _apply_altered(bare, altered)
    artefact = known.artefacts.get(name)
    return _apply_artefact(bare, artefact) if artefact else bare


def describe_report(report: Report, founds: Mapping[str, Found], known: Known) -> tuple[Snapshot, list[str]]:
    """Return the snapshot of the distributions `founds` of a report, and notes on damaged metadata."""
    notes = []
    required_by = _find_required_by(founds)
    distributions = []
    for name, found in sorted(founds.items()):
        try:
            source = _find_source(found, report.prefix)
        except ValueError as error:
            source = Index()
            notes.append(f"`{name}`: its direct_url.json is damaged ({error})")
        distributions.append(_describe_one(name, found, source, known, required_by.get(name, ())))
    return Snapshot(interpreter=report.interpreter, distributions=tuple(distributions), tool=TOOL), notes
