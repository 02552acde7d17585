"""Show a difference as a table."""

from __future__ import annotations

from repro.cli import console
from repro.formats.lockfile import Distribution
from repro.snapshots.drift import Drift, describe_interpreter


def _cell(distribution: Distribution | None) -> str:
    if distribution is None:
        return "-"
    kind = distribution.source.kind
    return distribution.version if kind == "index" else f"{distribution.version} ({kind})"


def _remark(before: Distribution | None, after: Distribution | None) -> str:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    return "changed" if _cell(before) != _cell(after) else "other files"


def show_drift(drift: Drift, *, before: str, after: str) -> None:
    """Print each distribution that differs with both versions, the interpreters first where they do not fit."""
    rows = []
    if drift.interpreters:
        rows.append(["python", *map(describe_interpreter, drift.interpreters), "changed"])
    rows += [[c.name, _cell(c.before), _cell(c.after), _remark(c.before, c.after)] for c in drift.changes]
    console.show_table(["distribution", before, after, ""], rows)
