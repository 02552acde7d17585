"""Say what a new lock holds and what it changes against the one before."""

from __future__ import annotations

from pathlib import Path

from repro.cli import console
from repro.formats.lockfile import Snapshot
from repro.snapshots.drift import Drift


def show_lock(path: Path, snapshot: Snapshot, *, drift: Drift | None, written: bool, would_change: bool) -> None:
    """Print one line for the lock, and one for each distribution that changes."""
    state = "written" if written else ("would change" if would_change else "up to date")
    version = f"Python {snapshot.interpreter.version}" if snapshot.interpreter else "Python"
    counts = ", ".join(f"{number} {name}" for name, number in snapshot.count().items()) or "empty"
    console.say(f"{path}: {state}: {len(snapshot.distributions)} distributions for {version} ({counts})")
    if drift is None:
        return
    for change in drift.changes:
        console.say(f"  {change}")
    if not drift:
        console.say("  the same versions as before" if would_change else "  nothing changed since the last lock")


def describe_lock(
    path: Path,
    snapshot: Snapshot,
    *,
    python: str,
    drift: Drift | None,
    written: bool,
    would_change: bool,
    notes: tuple[str, ...],
) -> dict[str, object]:
    """Return the same for `--json`."""
    return {
        "path": str(path),
        "python": python,
        "digest": snapshot.compute_digest(),
        "distributions": len(snapshot.distributions),
        "counts": snapshot.count(),
        "written": written,
        "would_change": would_change,
        "changes": drift.to_dict() if drift is not None else None,
        "notes": list(notes),
    }
