"""Show a difference as a table, worst first."""

from __future__ import annotations

from collections.abc import Sequence

from repro.cli import console
from repro.formats.lockfile import Distribution, Interpreter
from repro.snapshots.drift import Change, Drift, describe_aspects, describe_interpreter, is_same_version
from repro.snapshots.gaps import Gap, GapKind

_SHOWN_PLACES = 3


def _cell(distribution: Distribution | None) -> str:
    if distribution is None:
        return "-"
    kind = distribution.source.kind
    return distribution.version if kind == "index" else f"{distribution.version} ({kind})"


def _remark(change: Change) -> str:
    if change.before is None or change.after is None:
        return change.kind
    if not is_same_version(change.before.version, change.after.version):
        return "changed"
    return describe_aspects(change.before, change.after)


def show_drift(drift: Drift, *, before: str, after: str) -> None:
    """Print each difference with its class and both sides, worst first; Python leads its class."""
    rows = [[c.severity.value, c.name, _cell(c.before), _cell(c.after), _remark(c)] for c in drift.changes]
    if drift.interpreters and (severity := drift.interpreter_severity):
        at = sum(change.severity.rank < severity.rank for change in drift.changes)
        rows.insert(at, [severity.value, "python", *map(describe_interpreter, drift.interpreters), "changed"])
    if rows:
        console.show_table(["class", "distribution", before, after, ""], rows)


def _format_places(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN_PLACES} more" if len(places) > _SHOWN_PLACES else ""
    return ", ".join(places[:_SHOWN_PLACES]) + more


def _format_provider(gap: Gap) -> str:
    if gap.kind is GapKind.UNLOCKED:
        return f"{gap.distribution} {gap.version} is installed, not locked"
    return f"{gap.distribution} is not installed" if gap.is_known else "nothing that is installed"


def show_gaps(gaps: Sequence[Gap]) -> None:
    """Print each import that the lock does not provide, with what does and where it stands."""
    rows = [[g.severity.value, g.module, _format_provider(g), _format_places(g.places)] for g in gaps]
    if rows:
        console.show_table(["class", "import", "provided by", "imported in"], rows)


def list_remarks(before: Interpreter | None, after: Interpreter | None) -> list[str]:
    """Return what differs between two Pythons and is not counted, since distributions fit both."""
    if before is None or after is None or before.compatibility != after.compatibility:
        return []
    pairs = {"Python": (before.version, after.version), "libc": (before.libc, after.libc)}
    return [
        f"{what} {one} and {other}: not counted, what is installed fits both"
        for what, (one, other) in pairs.items()
        if one and other and one != other
    ]
