"""Say what a new lock holds and what it changes against the one before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from repro.cli import console
from repro.formats.lockfile import Proof, Snapshot
from repro.snapshots.drift import Drift

NOTHING_CHANGED = "nothing changed since the last lock"


def count_proofs(snapshot: Snapshot) -> dict[str, int]:
    """Return how many distributions are proved, identified and unproven."""
    counts = Counter(each.proof for each in snapshot.distributions)
    return {proof.value: counts[proof] for proof in Proof if counts[proof]}


def format_content(snapshot: Snapshot) -> str:
    """Return what a lock holds in a few words."""
    version = f"Python {snapshot.interpreter.version}" if snapshot.interpreter else "Python"
    counts = snapshot.count() | count_proofs(snapshot)
    listed = ", ".join(f"{number} {name}" for name, number in counts.items()) or "empty"
    return f"{len(snapshot.distributions)} distributions of {version} ({listed})"


def show_lock(path: Path, snapshot: Snapshot, *, drift: Drift | None, written: bool, would_change: bool) -> None:
    """Print one line for the lock, and one for each distribution that changes."""
    state = "written" if written else ("would change" if would_change else "up to date")
    console.say(f"{path}: {state}: {format_content(snapshot)}")
    if drift is None:
        return
    for change in drift.changes:
        console.say(f"  {change}")
    if not drift:
        console.say("  the same versions as before" if would_change else f"  {NOTHING_CHANGED}")


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
        "proofs": count_proofs(snapshot),
        "written": written,
        "would_change": would_change,
        "changes": drift.to_dict() if drift is not None else None,
        "notes": list(notes),
    }
