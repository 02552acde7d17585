"""Know what a build imports and does not declare, as many a setup.py does, by how it fails without."""

from __future__ import annotations

import re
from collections.abc import Mapping

from repro.snapshots.provides import guess_distribution

MOST_TRIES = 4  # each names one more module at most
_MISSING = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([\w.]+)")


def find_missing_module(said: str) -> str | None:
    """Return the module that a failed build has asked for in vain, None where it failed otherwise."""
    found = _MISSING.findall(said)
    return found[-1] if found else None


def find_need(said: str, known: Mapping[str, str], needs: tuple[str, ...], *, others: bool = False) -> str | None:
    """Return the requirement that a failed build lacks: the one `known` by the distribution's canonical name.

    With `others` that is else a distribution which is well known to have the module. None where nothing is, and where
    it is among the `needs` that the build had already.
    """
    module = find_missing_module(said)
    if module is None:
        return None
    distribution, is_known = guess_distribution(module)
    need = known.get(distribution) or (distribution if others and is_known else None)
    return need if need not in needs else None
