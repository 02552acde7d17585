"""Turn what an installer said when it failed into one sentence, without credentials."""

from __future__ import annotations

import re
from collections.abc import Sequence

from repro.errors import RestoreError
from repro.formats.redaction import redact
from repro.process import Finished
from repro.snapshots.setup_needs import find_missing_module

_HASH_MISMATCH = re.compile(r"hash mismatch|do not match the hashes|DO NOT MATCH", re.IGNORECASE)
_MISSING = re.compile(r"No solution found|No matching distribution|was not found in|there is no version of")
_NETWORK = re.compile(
    r"network was disabled|error sending request|Failed to fetch|dns error|NewConnectionError|Connection refused", re.I
)
_TOO_OLD = re.compile(r"This version of pip does not support python (\S+) \(requires (\S+?)\)")
_SPACE = re.compile(r"No space left on device")
_DETAIL_LINES = 12


def name_build(requirements: Sequence[str], tool: str) -> str:
    """Return what a tool does that builds wheels of requirements, as a message names it."""
    names = ", ".join(f"`{each.split()[0]}`" for each in requirements)
    return f"building a wheel of {names} with {tool}"


def explain(finished: Finished, deed: str) -> RestoreError:
    """Return the error for a failed installer: the cause where it is a known one, and its last lines."""
    said = redact(finished.stderr.strip() or finished.stdout.strip())
    lines = tuple(line.strip() for line in said.splitlines() if line.strip())[-_DETAIL_LINES:]
    hint = None
    cause = f"{deed} failed"
    if _SPACE.search(said):
        cause, hint = f"{deed} failed: the disk is full", "make room, or name another cache with `--cache DIR`"
    elif found := _TOO_OLD.search(said):
        cause = f"{deed} failed: pip builds for Python {found[2]}, not for {found[1]}"
        hint = "install uv (`pip install 'repro[uv]'`), which builds for it, and restore without `--engine pip`"
    elif _HASH_MISMATCH.search(said):
        cause = f"{deed} failed: a file of the index has another sha256 than the lock"
        hint = "do not install it; if you trust the index, take the lock again with `repro snapshot`"
    elif "network was disabled" in said:
        cause, hint = f"{deed} failed: offline, and not everything is in the cache", "restore once without `--offline`"
    elif _MISSING.search(said):
        cause, hint = f"{deed} failed: an index does not have a version of the lock", "see the lines above for its name"
    elif module := find_missing_module(said):
        cause = f"{deed} failed: it imports `{module}` and does not say that it needs it"
        hint = f"lock what has `{module}` beside it: what is locked is there for builds that ask for it so"
    elif _NETWORK.search(said):
        cause, hint = f"{deed} failed: the package index cannot be reached", "check the network, then restore again"
    return RestoreError(cause, hint=hint, details=lines)
