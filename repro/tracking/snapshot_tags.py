"""What the tags of a run say of its snapshot."""

from __future__ import annotations

from repro.formats.lockfile import FILE_NAME, Snapshot


def make_snapshot_tags(snapshot: Snapshot) -> dict[str, str]:
    """Return what a run's tags say of its snapshot."""
    tags = {
        "repro.snapshot.path": FILE_NAME,
        "repro.snapshot.digest": snapshot.compute_digest(),
        "repro.snapshot.packages": str(len(snapshot.distributions)),
    }
    if snapshot.interpreter:
        tags["repro.snapshot.python"] = snapshot.interpreter.version
    return tags
