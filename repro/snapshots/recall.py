"""Recall what is known of distributions: from the memory of earlier snapshots, by RECORD, and from the lock."""

from __future__ import annotations

from collections.abc import Mapping

from repro.formats.direct_url import Index
from repro.formats.lockfile import Distribution, Proof, Snapshot
from repro.snapshots.describe import Known, choose_founds, describe_report, require_readable
from repro.snapshots.installed import read_installed
from repro.snapshots.memory import Altered, Artefact, Checked, Memory
from repro.snapshots.probe import Found, Report
from repro.values import replace


def _recall_artefact(found: Found, memory: Memory | None, *, afresh: bool) -> Artefact | None:
    """Return what is known of a RECORD; what is not known yet, and `afresh` in any case, is its digest alone."""
    if found.record is None:
        return None
    known = memory.find_artefact(found.record) if memory else None
    if known:
        return Artefact(record=known.record) if afresh else known
    installed = read_installed(found)
    if installed is None:
        return None
    artefact = Artefact(record=installed.record)
    if memory:
        memory.keep_artefact(found.record, artefact)
    return artefact


def recall_artefacts(
    founds: Mapping[str, Found], memory: Memory | None, *, afresh: bool = False
) -> dict[str, Artefact]:
    """Return what is known of the distributions that have a RECORD, by name; with `afresh` its digest alone."""
    recalled = {name: _recall_artefact(found, memory, afresh=afresh) for name, found in founds.items()}
    return {name: artefact for name, artefact in recalled.items() if artefact}


def recall_altered(founds: Mapping[str, Found], checked: Mapping[str, Checked]) -> dict[str, Altered]:
    """Return those distributions that were changed after they were installed, as the check of the sites found them."""
    by_record = {(site, each.record_sha256): each for site, one in checked.items() for each in one.altered}
    found_altered = {name: by_record.get((found.site, found.record or "")) for name, found in founds.items()}
    return {name: each for name, each in found_altered.items() if each}


def describe(report: Report, *, memory: Memory | None, allow_missing: bool = True) -> tuple[Snapshot, list[str]]:
    """Return what a probe found as a snapshot, with what is remembered of its files, and notes on what was odd.

    Nothing is asked, packed, built or compared. Raises ReproError for what cannot be read unless `allow_missing`.
    """
    chosen, notes = choose_founds(report.found)
    founds, more_notes = require_readable(chosen, allow_missing=allow_missing)
    remembered = {site: memory.find_checked(site) for site in report.sites} if memory else {}
    checked = {site: each for site, each in remembered.items() if each}
    known = Known(artefacts=recall_artefacts(founds, memory), altered=recall_altered(founds, checked))
    snapshot, odd = describe_report(report, founds, known)
    return snapshot, [*notes, *more_notes, *odd]


def recall_from_lock(artefact: Artefact, before: Distribution | None) -> Artefact:
    """Return an artefact with what the lock to be replaced says of the same files."""
    if artefact.proof or before is None or before.record != artefact.record or not before.hashes:
        return artefact
    if before.kept or before.modified or not isinstance(before.source, Index):
        return artefact
    return replace(
        artefact,
        proof=before.proof or Proof.UNPROVEN,
        file=before.file,
        hashes=before.hashes,
        index=before.source.url,
        reason=before.reason,
    )
