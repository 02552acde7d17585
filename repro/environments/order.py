"""What a build is asked for, apart from how it is done: who finds an environment ready imports no builder."""

from __future__ import annotations

from pathlib import Path

from repro.environments.interpreters import Candidate
from repro.formats.lockfile import Distribution, Snapshot
from repro.values import frozen


@frozen
class Order:
    """What is to be built: the distributions `wanted` of a lock, for an interpreter, under a key.

    `project` is the directory whose configuration names indexes.
    """

    snapshot: Snapshot
    wanted: tuple[Distribution, ...]
    candidate: Candidate
    key: str
    project: Path
    engine: str | None = None
    offline: bool = False
