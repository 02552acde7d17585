"""A snapshot in the making: what is known, and the deeds that add to it: ask indexes, pack, build."""

from __future__ import annotations

from collections.abc import Callable

from repro.errors import ReproError
from repro.formats.direct_url import Archive, Checkout, Directory, Editable, Index, System
from repro.formats.lockfile import Distribution, Proof, Snapshot, is_version
from repro.snapshots.describe import Known, describe_report
from repro.snapshots.installed import Installed, read_installed
from repro.snapshots.memory import Altered, Artefact, Checked, Memory
from repro.snapshots.pins import IndexUnreachableError
from repro.snapshots.probe import Found, Report
from repro.snapshots.recall import recall_altered
from repro.values import field, frozen, mutable, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.keep import Keeper
    from repro.snapshots.resolve import Resolution, Resolve


@frozen
class Tools:
    """What a snapshot may need beyond a look; each is made when it is first needed."""

    make_keeper: Callable[[], Keeper]
    make_resolver: Callable[[Keeper], Resolve]
    scope: Callable[[], str]
    """The id of the indexes that are asked."""
    report: Callable[[str], None]
    """Is told of each stage of long work."""


@frozen
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


@mutable
class Work:
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
        return recall_altered(self.founds, self.checked)

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


def _must_resolve(work: Work, each: Distribution) -> bool:
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


def _is_of_other_indexes(work: Work, name: str) -> bool:
    """Tell whether what no index had then may be had now: other indexes are asked."""
    artefact = work.artefacts.get(name)
    return bool(artefact and artefact.local and artefact.scope != work.tools.scope())


def resolve(work: Work, snapshot: Snapshot) -> None:
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


def _take_over(work: Work, resolution: Resolution) -> None:
    work.notes += resolution.notes
    work.is_open = bool(resolution.open_names)
    for name, artefact in resolution.artefacts.items():
        if name in resolution.open_names:
            work.artefacts[name] = artefact
        else:
            work.remember(name, artefact)


def _must_pack(work: Work, each: Distribution) -> bool:
    """Tell whether a distribution has to be packed: no index can give it back as it is."""
    artefact = work.artefacts.get(each.name)
    if isinstance(each.source, Index | Editable | System) or each.modified or artefact is None:
        return False
    if isinstance(each.source, Archive) and each.hashes and not artefact.kept and each.source.url.endswith(".whl"):
        return False
    return not work.get_keeper().has(artefact)


def pack(work: Work, snapshot: Snapshot) -> None:
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


def pack_altered(work: Work) -> None:
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


def build_editables(work: Work, snapshot: Snapshot) -> None:
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
