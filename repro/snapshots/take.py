"""Take a snapshot: what an interpreter really holds, as a value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from repro.errors import ReproError
from repro.formats.direct_url import Archive, Editable, Index, Source, System, parse_direct_url
from repro.formats.lockfile import Distribution, Snapshot, canonicalize_name, is_version
from repro.formats.record import digest_record
from repro.process import Runner
from repro.snapshots.memory import Memory
from repro.snapshots.pins import AskHashes, Hashes, IndexUnreachableError, Pin
from repro.snapshots.probe import Found, Report, probe

TOOL = "repro 0.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot, the interpreter it was taken of and its prefix, and notes for the taker: one sentence each.

    `found` is what it was made from.
    """

    snapshot: Snapshot
    python: str
    prefix: str
    notes: tuple[str, ...]
    found: tuple[Found, ...] = ()


def _digest_record_file(found: Found, memory: Memory | None) -> str | None:
    if found.record is None:
        return None
    known = memory.find_record_digest(found.record) if memory else None
    if known:
        return known
    with open(os.path.join(found.site, found.entry, "RECORD"), encoding="utf-8", errors="replace") as file:
        digest = digest_record(file.read())
    if memory:
        memory.keep_record_digest(found.record, digest)
    return digest


def _find_source(found: Found, prefix: str) -> Source:
    of_debian = os.path.basename(found.site) == "dist-packages" and "/local/" not in found.site
    if of_debian or found.installer == "conda":
        return System()
    if found.direct_url:
        return parse_direct_url(found.direct_url)
    inside = os.path.realpath(found.site).startswith(os.path.realpath(prefix) + os.sep)
    if found.entry.endswith(".egg-info") and not inside:
        return Editable()  # `setup.py develop`: a .pth file leads to the project's own directory
    return Index()


def _choose(founds: Iterable[Found]) -> tuple[dict[str, Found], list[str]]:
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
        notes.append(f"`{name}` is installed twice; {kept.version} is taken, {dropped.version} is left out")
    return chosen, notes


def _require_complete(chosen: Mapping[str, Found], *, allow_missing: bool) -> tuple[dict[str, Found], list[str]]:
    """Return the distributions whose name and version can be read."""
    unreadable = [found.entry for name, found in chosen.items() if not (name and found.version)]
    if unreadable and not allow_missing:
        raise ReproError(
            f"{len(unreadable)} distribution(s) have no readable name and version",
            hint="reinstall or remove them, or leave them out with `--allow-missing`",
            details=tuple(unreadable),
        )
    readable = {name: found for name, found in chosen.items() if name and found.version}
    return readable, [f"`{entry}` cannot be read and is left out" for entry in unreadable]


def describe(report: Report, *, memory: Memory | None, allow_missing: bool = True) -> tuple[Snapshot, list[str]]:
    """Return what a probe found as a snapshot without hashes, and notes on what was odd."""
    chosen, notes = _choose(report.found)
    readable, more_notes = _require_complete(chosen, allow_missing=allow_missing)
    via: dict[str, list[str]] = {}
    for name, found in readable.items():
        for required in found.requires:
            via.setdefault(canonicalize_name(required), []).append(name)
    distributions = []
    for name in sorted(readable):
        found = readable[name]
        try:
            source = _find_source(found, report.prefix)
        except ValueError as error:
            source = Index()
            more_notes.append(f"`{name}`: its direct_url.json is damaged ({error})")
        distributions.append(
            Distribution(
                name=name,
                version=found.version,
                source=source,
                hashes=(f"sha256:{source.sha256}",) if isinstance(source, Archive) and source.sha256 else (),
                record=_digest_record_file(found, memory),
                requested=found.requested,
                via=tuple(sorted(set(via.get(name, ())) - {name})),
            )
        )
    snapshot = Snapshot(interpreter=report.interpreter, distributions=tuple(distributions), tool=TOOL)
    return snapshot, notes + more_notes


def _known_hashes(snapshot: Snapshot, old: Snapshot | None, memory: Memory | None) -> Hashes:
    """Return hashes that need no asking: an unchanged entry keeps those of the old lock."""
    before = {each.identity: each.hashes for each in old.distributions} if old else {}
    known = {}
    for each in snapshot.distributions:
        if isinstance(each.source, Index):
            hashes = before.get(each.identity) or (memory.find_hashes(each.name, each.version) if memory else ())
            if hashes:
                known[each.name] = hashes
    return known


def add_hashes(
    snapshot: Snapshot, *, old: Snapshot | None, memory: Memory | None, ask: AskHashes
) -> tuple[Snapshot, list[str]]:
    """Return the snapshot with the hashes of its index files; all of them, or none where no index answers."""
    hashes = _known_hashes(snapshot, old, memory)
    wanted = [each for each in snapshot.distributions if isinstance(each.source, Index) and is_version(each.version)]
    pins = [Pin(name=each.name, version=each.version) for each in wanted if each.name not in hashes]
    try:
        fresh = ask(pins) if pins else {}
    except IndexUnreachableError as error:
        bare = tuple(replace(each, hashes=()) for each in snapshot.distributions)
        note = f"{error.message}: the lock has plain pins only; run `repro snapshot` again with a network"
        return replace(snapshot, distributions=bare), [note]
    if memory:
        for pin in pins:
            if pin.name in fresh:
                memory.keep_hashes(pin.name, pin.version, fresh[pin.name])
    hashes |= fresh
    notes = [
        f"`{pin}` is on no index that was asked: it stands in the lock as a comment and cannot be restored"
        for pin in pins
        if pin.name not in fresh
    ]
    complete = tuple(
        replace(each, hashes=tuple(hashes[each.name])) if each.name in hashes else each
        for each in snapshot.distributions
    )
    return replace(snapshot, distributions=complete), notes


def take_snapshot(
    python: str,
    *,
    runner: Runner,
    environ: Mapping[str, str],
    memory: Memory | None,
    ask: AskHashes,
    old: Snapshot | None = None,
    index_urls: tuple[str, ...] = (),
    allow_missing: bool = True,
) -> Taken:
    """Take the snapshot of the interpreter `python`; `old` is the lock it may replace, whose hashes it keeps.

    Raises InterpreterNotFoundError, and ReproError for a distribution that cannot be read unless `allow_missing`.
    """
    report = probe(python, runner=runner, environ=environ)
    bare, notes = describe(report, memory=memory, allow_missing=allow_missing)
    snapshot, more_notes = add_hashes(bare, old=old, memory=memory, ask=ask)
    return Taken(
        snapshot=replace(snapshot, index_urls=index_urls),
        python=report.executable,
        prefix=report.prefix,
        notes=(*notes, *more_notes),
        found=report.found,
    )
