"""Which wheels an interpreter of this machine takes, the best first (PEP 425, PEP 600, PEP 656)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from repro.formats.lockfile import Interpreter
from repro.formats.simple_index import expand_tags


@lru_cache(maxsize=8)
def rank_tags(python: Interpreter) -> dict[str, int]:
    """Return the tags an interpreter takes with their rank, 0 for the best; the platform is this machine's."""
    from packaging import tags

    major, minor = (int(part) for part in python.minor.split("."))
    platforms = list(tags.platform_tags())
    if python.implementation == "cpython":
        own = list(tags.cpython_tags((major, minor), abis=[python.abi], platforms=platforms))
        interpreter = f"cp{major}{minor}"
    else:
        own = list(tags.generic_tags(f"pp{major}{minor}", [python.abi], platforms))
        interpreter = f"pp{major}{minor}"
    every = [*own, *tags.compatible_tags((major, minor), interpreter, platforms)]
    return {str(tag): rank for rank, tag in reversed(list(enumerate(every)))}


def find_rank(filename: str, ranks: dict[str, int]) -> int | None:
    """Return the rank of a wheel by its file name, None where it does not fit."""
    found = [ranks[tag] for tag in expand_tags("-".join(filename[:-4].split("-")[-3:])) if tag in ranks]
    return min(found, default=None)


def choose_wheel(filenames: Sequence[str], ranks: dict[str, int]) -> str | None:
    """Return the wheel that fits best, None where none does."""
    fitting = [(rank, name) for name in filenames if (rank := find_rank(name, ranks)) is not None]
    return min(fitting)[1] if fitting else None
