"""The used ring: the distributions that a run has used, as marks in its lock, and what those require."""

from __future__ import annotations

from collections.abc import Iterable

from repro.errors import NotObservedError
from repro.formats.lockfile import Distribution, Snapshot
from repro.values import replace


def mark_used(snapshot: Snapshot, names: frozenset[str]) -> Snapshot:
    """Return the snapshot with exactly these distributions marked as used."""
    marked = tuple(
        each if each.used == (each.name in names) else replace(each, used=each.name in names)
        for each in snapshot.distributions
    )
    return replace(snapshot, distributions=marked)


def find_required(distributions: Iterable[Distribution], names: frozenset[str]) -> frozenset[str]:
    """Return the names and all that these require, over the `via` edges; a ring of edges ends like any other."""
    requires: dict[str, list[str]] = {}
    for each in distributions:
        for dependent in each.via:
            requires.setdefault(dependent, []).append(each.name)
    found, pending = set(names), list(names)
    while pending:
        for name in requires.get(pending.pop(), ()):
            if name not in found:
                found.add(name)
                pending.append(name)
    return frozenset(found)


def select(snapshot: Snapshot, names: frozenset[str]) -> Snapshot:
    """Return the snapshot of these distributions and what they require alone, as if no other had been installed."""
    installed = {each.name for each in snapshot.distributions}
    kept = find_required(snapshot.distributions, names & installed)
    distributions = tuple(
        replace(each, used=False, via=tuple(name for name in each.via if name in kept))
        for each in snapshot.distributions
        if each.name in kept
    )
    return replace(snapshot, distributions=distributions)


def select_used(snapshot: Snapshot, *, where: str) -> Snapshot:
    """Return the used ring of a lock and what it requires. Raises NotObservedError where nothing is marked."""
    names = frozenset(each.name for each in snapshot.distributions if each.used)
    if not names:
        raise NotObservedError(
            f"`{where}` marks no distribution as used",
            hint="`repro run` marks what a run imports, in the run's own copy of the lock; "
            "`repro snapshot --used` writes a lock of these alone",
        )
    return select(snapshot, names)
