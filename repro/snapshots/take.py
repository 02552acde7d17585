"""Take a snapshot: what an interpreter really holds, file by file, as a value.

Gather what is known, decide what has to be asked, packed or built, do that, and describe. What was found once is
remembered by the RECORD file, so that a second snapshot asks nobody. What takes it is imported where that is done: a
run whose snapshot is known needs the value alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.errors import ReproError
from repro.formats.direct_url import Editable, parse_direct_url
from repro.formats.lockfile import Snapshot
from repro.process import Runner
from repro.snapshots.probe import Found, Report, probe
from repro.snapshots.sweep import is_swept
from repro.values import frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.memory import Memory
    from repro.snapshots.preflight import Fault
    from repro.snapshots.work import Thoroughness, Tools, Work


@frozen
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


def _check_preflight(work: Work, notes: list[str]) -> tuple[Fault, ...]:
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
) -> Work:
    """Gather what is known, and compare the files with what RECORD says."""
    from repro.snapshots.check import check_sites
    from repro.snapshots.describe import choose_founds, require_readable
    from repro.snapshots.recall import recall_artefacts, recall_from_lock
    from repro.snapshots.work import Work

    chosen, notes = choose_founds(report.found)
    founds, more_notes = require_readable(chosen, allow_missing=thoroughness.allow_missing)
    before = {each.name: each for each in old.distributions} if old and not thoroughness.refresh else {}
    recalled = recall_artefacts(founds, memory, afresh=thoroughness.refresh)
    artefacts = {name: recall_from_lock(artefact, before.get(name)) for name, artefact in recalled.items()}
    swept, checked = check_sites(report.sites, founds, memory=memory, deep=thoroughness.deep)
    return Work(
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
    from repro.snapshots.work import build_editables, pack, pack_altered, resolve

    report = probe(python, runner=runner, environ=environ)
    work = _start(report, memory=memory, tools=tools, thoroughness=thoroughness, old=old)
    bare, odd = work.describe()
    resolve(work, bare)
    resolved, _ = work.describe()
    pack(work, resolved)
    pack_altered(work)
    build_editables(work, resolved)
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
