"""Take a snapshot: what an interpreter really holds, file by file, as a value.

Gather what is known, decide what has to be asked, packed or built, do that, and describe. What was found once is
remembered by the RECORD file, so that a second snapshot asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from repro.errors import ReproError
from repro.formats.direct_url import Archive, Checkout, Directory, Editable, Index, System, parse_direct_url
from repro.formats.lockfile import Distribution, Proof, Snapshot, is_version
from repro.process import Runner
from repro.snapshots.describe import Known, choose_founds, describe_report, require_readable
from repro.snapshots.installed import Installed, read_installed
from repro.snapshots.memory import Altered, Artefact, Checked, Memory
from repro.snapshots.pins import IndexUnreachableError
from repro.snapshots.probe import Found, Report, probe
from repro.snapshots.sweep import is_swept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.keep import Keeper
    from repro.snapshots.preflight import Fault
    from repro.snapshots.resolve import Resolution, Resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a snapshot may need beyond a look; each is made when it is first needed."""

    make_keeper: Callable[[], Keeper]
    make_resolver: Callable[[Keeper], Resolve]
    scope: Callable[[], str]
    """The id of the indexes that are asked."""
    report: Callable[[str], None]
    """Is told of each stage of long work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thoroughness:
    """How much a snapshot is to find out.

    `prove` every file, compare `deep` by sha256, refuse in `strict` mode what is inconsistent, and with `refresh` ask
    again what is known.
    """

    prove: bool = False
    deep: bool = False
    strict: bool = False
    allow_missing: bool = True
    refresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot, the interpreter it was taken of and its prefix, notes for the taker, and what is inconsistent.

    `found` is what it was made from.
    """

    snapshot: Snapshot
    python: str
    prefix: str
    sites: tuple[str, ...] = ()
    swept: str = ""
    """What the files of the sites summed up to, before they were looked at (see `sweep`)."""
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    is_settled: bool = True
    """Whether the same sites give the same snapshot again: nothing outside them has a part in it."""
    found: tuple[Found, ...] = ()


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


def _recall(founds: Mapping[str, Found], memory: Memory | None, *, afresh: bool = False) -> dict[str, Artefact]:
    recalled = {name: _recall_artefact(found, memory, afresh=afresh) for name, found in founds.items()}
    return {name: artefact for name, artefact in recalled.items() if artefact}


def _recall_altered(founds: Mapping[str, Found], checked: Mapping[str, Checked]) -> dict[str, Altered]:
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
    known = Known(artefacts=_recall(founds, memory), altered=_recall_altered(founds, checked))
    snapshot, odd = describe_report(report, founds, known)
    return snapshot, [*notes, *more_notes, *odd]


def _recall_from_lock(artefact: Artefact, before: Distribution | None) -> Artefact:
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


@dataclass(slots=True, kw_only=True)
class _Work:
    """A snapshot in the making."""

    report: Report
    founds: dict[str, Found]
    memory: Memory | None
    tools: Tools
    thoroughness: Thoroughness
    artefacts: dict[str, Artefact]
    swept: str
    checked: dict[str, Checked]
    checkouts: dict[str, Checkout] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    has_network: bool = True
    is_open: bool = False
    """Whether an index may answer otherwise next time."""
    _keeper: Keeper | None = None

    @property
    def altered(self) -> dict[str, Altered]:
        return _recall_altered(self.founds, self.checked)

    def get_keeper(self) -> Keeper:
        if self._keeper is None:
            self._keeper = self.tools.make_keeper()
        return self._keeper

    def describe(self) -> tuple[Snapshot, list[str]]:
        known = Known(artefacts=self.artefacts, altered=self.altered, checkouts=self.checkouts)
        return describe_report(self.report, self.founds, known)

    def remember(self, name: str, artefact: Artefact) -> None:
        self.artefacts[name] = artefact
        record = self.founds[name].record
        if self.memory and record:
            self.memory.keep_artefact(record, artefact)


def _must_resolve(work: _Work, each: Distribution) -> bool:
    """Tell whether an index has to be asked which file this is."""
    artefact = work.artefacts.get(each.name)
    if artefact is None or each.modified or not is_version(each.version):
        return False
    if isinstance(each.source, Archive):
        is_open = not each.hashes or (work.thoroughness.prove and artefact.proof is not Proof.PROVED)
        return each.source.url.endswith(".whl") and not artefact.kept and is_open
    if not isinstance(each.source, Index):
        return False
    if artefact.kept:
        return not work.get_keeper().has(artefact)
    if work.thoroughness.prove:
        return artefact.proof is not Proof.PROVED
    return artefact.proof is None


def _is_of_other_indexes(work: _Work, name: str) -> bool:
    """Tell whether what no index had then may be had now: other indexes are asked."""
    artefact = work.artefacts.get(name)
    return bool(artefact and artefact.local and artefact.scope != work.tools.scope())


def _resolve(work: _Work, snapshot: Snapshot) -> None:
    """Find the files of indexes that are installed."""
    names = [each.name for each in snapshot.distributions if _must_resolve(work, each)]
    names += [name for name, each in work.artefacts.items() if each.local and _is_of_other_indexes(work, name)]
    readable = {name: read_installed(work.founds[name]) for name in dict.fromkeys(names)}
    installed: dict[str, Installed] = {name: each for name, each in readable.items() if each}
    if not installed:
        return
    work.tools.report(f"finding the files of {len(installed)} distributions on their index")
    try:
        resolution = work.tools.make_resolver(work.get_keeper())(installed)
    except IndexUnreachableError as error:
        work.has_network = False
        hint = error.hint or "run `repro snapshot` again with a network"
        work.notes.append(f"{error.message}: the lock has plain pins only; {hint}")
        return
    _take_over(work, resolution)


def _take_over(work: _Work, resolution: Resolution) -> None:
    work.notes += resolution.notes
    work.is_open = bool(resolution.open_names)
    for name, artefact in resolution.artefacts.items():
        if name in resolution.open_names:
            work.artefacts[name] = artefact
        else:
            work.remember(name, artefact)


def _must_pack(work: _Work, each: Distribution) -> bool:
    """Tell whether a distribution has to be packed: no index can give it back as it is."""
    artefact = work.artefacts.get(each.name)
    if isinstance(each.source, Index | Editable | System) or each.modified or artefact is None:
        return False
    if isinstance(each.source, Archive) and each.hashes and not artefact.kept and each.source.url.endswith(".whl"):
        return False
    return not work.get_keeper().has(artefact)


def _pack(work: _Work, snapshot: Snapshot) -> None:
    """Keep wheels of what was installed from elsewhere than an index, or is on none."""
    for each in snapshot.distributions:
        if _must_pack(work, each):
            before = work.artefacts[each.name]
            work.tools.report(f"packing {each.name}")
            try:
                kept = work.get_keeper().keep_installed(work.founds[each.name])
            except ReproError as error:
                work.notes.append(f"`{each.name}` cannot be kept, and not be restored: {error.message}")
                continue
            work.remember(each.name, replace(kept, proof=before.proof, reason=before.reason, local=before.local,
                                             scope=before.scope))  # fmt: skip


def _pack_altered(work: _Work) -> None:
    """Keep wheels of what was changed after it was installed, as it is now."""
    for site, checked in work.checked.items():
        packed = []
        for each in checked.altered:
            name = next((n for n, f in work.founds.items() if (f.site, f.record) == (site, each.record_sha256)), None)
            artefact = each.artefact
            if name and not work.get_keeper().has(artefact):
                work.tools.report(f"packing {name}")
                try:
                    artefact = work.get_keeper().keep_installed(work.founds[name])
                except ReproError as error:
                    work.notes.append(f"`{name}` was changed and cannot be kept: {error.message}")
            packed.append(replace(each, artefact=artefact))
        work.checked[site] = replace(checked, altered=tuple(packed))
        if work.memory:
            work.memory.keep_checked(site, work.checked[site])


def _build_editables(work: _Work, snapshot: Snapshot) -> None:
    """Keep wheels of working copies as they are now, and note the state of those that were installed from."""
    for each in snapshot.distributions:
        if isinstance(each.source, Editable):
            work.tools.report(f"looking at the working copy of {each.name}")
            try:
                artefact, state = work.get_keeper().keep_working_copy(
                    work.founds[each.name], python=work.report.executable, minor=work.report.interpreter.minor
                )
                work.artefacts[each.name] = artefact
                work.checkouts[each.name] = state
            except ReproError as error:
                detail = f" ({error.details[-1]})" if error.details else ""
                work.notes.append(f"`{each.name}` cannot be kept, and not be restored: {error.message}{detail}")
        elif isinstance(each.source, Directory) and (
            checkout := work.get_keeper().find_checkout(work.founds[each.name])
        ):
            work.checkouts[each.name] = checkout


def _note_modified(snapshot: Snapshot) -> list[str]:
    return [
        f"`{each.name}` was changed after it was installed: {', '.join(each.modified[:5])}"
        + (f" and {len(each.modified) - 5} more" if len(each.modified) > 5 else "")
        for each in snapshot.distributions
        if each.modified
    ]


def strip_hashes(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot as plain pins: active lines are all hashed or none."""
    return replace(
        snapshot,
        distributions=tuple(each if each.kept else replace(each, hashes=()) for each in snapshot.distributions),
    )


def _check_preflight(work: _Work, notes: list[str]) -> tuple[Fault, ...]:
    """Return what is inconsistent. Raises ReproError with all of it in strict mode."""
    from repro.snapshots.preflight import check_requirements

    faults = check_requirements(work.founds, work.report.interpreter)
    lines = (*(fault.text for fault in faults), *notes)
    if work.thoroughness.strict and lines:
        raise ReproError(
            f"the environment is not consistent: {len(lines)} fault(s)",
            hint="mend it, or take the snapshot without `--strict`",
            details=lines,
        )
    return faults


def _start(
    report: Report, *, memory: Memory | None, tools: Tools, thoroughness: Thoroughness, old: Snapshot | None
) -> _Work:
    """Gather what is known, and compare the files with what RECORD says."""
    from repro.snapshots.check import check_sites

    chosen, notes = choose_founds(report.found)
    founds, more_notes = require_readable(chosen, allow_missing=thoroughness.allow_missing)
    before = {each.name: each for each in old.distributions} if old and not thoroughness.refresh else {}
    recalled = _recall(founds, memory, afresh=thoroughness.refresh)
    artefacts = {name: _recall_from_lock(artefact, before.get(name)) for name, artefact in recalled.items()}
    swept, checked = check_sites(report.sites, founds, memory=memory, deep=thoroughness.deep)
    return _Work(
        report=report,
        founds=founds,
        memory=memory,
        tools=tools,
        thoroughness=thoroughness,
        artefacts=artefacts,
        swept=str(swept),
        checked=checked,
        notes=[*notes, *more_notes],
    )


def _lies_in_sites(found: Found) -> bool:
    """Tell whether a distribution's files are among those that are swept; an editable's are not."""
    try:
        source = parse_direct_url(found.direct_url) if found.direct_url else None
    except ValueError:
        source = None
    return is_swept(found.site) and not isinstance(source, Editable)


def take_snapshot(
    python: str,
    *,
    runner: Runner,
    environ: Mapping[str, str],
    memory: Memory | None,
    tools: Tools,
    thoroughness: Thoroughness,
    old: Snapshot | None = None,
    index_urls: tuple[str, ...] = (),
) -> Taken:
    """Take the snapshot of the interpreter `python`; `old` is the lock it may replace, whose hashes it keeps.

    Raises InterpreterNotFoundError, ReproError for a distribution that cannot be read unless allowed, and in strict
    mode for anything that is inconsistent.
    """
    report = probe(python, runner=runner, environ=environ)
    work = _start(report, memory=memory, tools=tools, thoroughness=thoroughness, old=old)
    bare, odd = work.describe()
    _resolve(work, bare)
    resolved, _ = work.describe()
    _pack(work, resolved)
    _pack_altered(work)
    _build_editables(work, resolved)
    snapshot, _ = work.describe()
    notes = [*odd, *work.notes, *_note_modified(snapshot)]
    faults = _check_preflight(work, notes)
    snapshot = snapshot if work.has_network else strip_hashes(snapshot)
    return Taken(
        snapshot=replace(snapshot, index_urls=index_urls),
        python=report.executable,
        prefix=report.prefix,
        sites=report.sites,
        swept=work.swept,
        notes=tuple(notes),
        faults=faults,
        is_settled=work.has_network and not work.is_open and all(_lies_in_sites(each) for each in work.founds.values()),
        found=report.found,
    )
