"""What the code imports and the lock does not provide."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from repro.formats.lockfile import Snapshot
from repro.snapshots.code import Code, Named
from repro.snapshots.provides import Provided, guess_distribution
from repro.snapshots.severity import Severity, is_numeric
from repro.values import frozen

_OWN = frozenset({"repro", "__main__"})  # a run lends repro to its script


class GapKind(Enum):
    """Say where an import that the lock does not provide stands."""

    UNLOCKED = "unlocked"
    """The environment has the distribution, the lock does not."""
    MISSING = "missing"
    """Neither has it."""


@frozen
class Gap:
    """A module that the code needs, and the distribution that provides it: installed, or guessed from its name.

    `is_known` tells a distribution that is installed or well known from a guess, which nobody should install unseen.
    """

    module: str
    kind: GapKind
    distribution: str
    is_known: bool
    version: str | None
    places: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        """The class: without it the code stops with an ImportError, or with another version of it counts otherwise."""
        return Severity.NUMERIC if is_numeric(self.distribution) else Severity.USED

    def to_dict(self) -> dict[str, object]:
        """Return the gap for `--json`."""
        return {
            "module": self.module,
            "class": self.severity.value,
            "state": self.kind.value,
            "distribution": self.distribution if self.is_known else None,
            "version": self.version,
            "places": list(self.places),
        }


@frozen
class Needs:
    """What the code needs: the distributions it imports, by canonical name, and what of them the lock lacks."""

    imported: frozenset[str]
    gaps: tuple[Gap, ...]


def _merge(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return one gap for each distribution, worst first."""
    merged: dict[tuple[GapKind, str], Gap] = {}
    for gap in gaps:
        earlier = merged.get((gap.kind, gap.distribution))
        places = dict.fromkeys((*(earlier.places if earlier else ()), *gap.places))
        merged[gap.kind, gap.distribution] = Gap(
            module=earlier.module if earlier else gap.module,
            kind=gap.kind,
            distribution=gap.distribution,
            is_known=gap.is_known,
            version=gap.version,
            places=tuple(places),
        )
    return tuple(sorted(merged.values(), key=lambda gap: (gap.severity.rank, gap.module.lower())))


def _find_gap(named: Named, providers: frozenset[str], here: dict[str, str]) -> Gap:
    if providers:
        distribution = min(providers)
        kind, is_known = GapKind.UNLOCKED, True
    else:
        distribution, is_known = guess_distribution(named.name)
        kind = GapKind.MISSING
    return Gap(
        module=named.top,
        kind=kind,
        distribution=distribution,
        is_known=is_known,
        version=here.get(distribution),
        places=named.places,
    )


def find_needs(code: Code, *, provided: Provided, stdlib: frozenset[str], lock: Snapshot, here: Snapshot) -> Needs:
    """Return what the code imports and the lock lacks.

    What the standard library or the project itself provides is no gap, and neither is an import that may fail.
    """
    locked = {each.name for each in lock.distributions}
    installed = {each.name: each.version for each in here.distributions}
    imported: set[str] = set()
    gaps = []
    for named in code.imports:
        if named.local or named.top in stdlib or named.top in _OWN:
            continue
        providers = provided.find(named.name)
        candidates = providers or {guess_distribution(named.name)[0]}
        imported |= candidates & (locked | installed.keys())
        if named.optional or candidates & locked or (named.directory and not providers):
            continue
        gaps.append(_find_gap(named, providers, installed))
    return Needs(imported=frozenset(imported), gaps=_merge(gaps))
