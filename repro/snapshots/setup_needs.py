"""Know what a build imports and does not declare, as many a setup.py does, by how it fails without."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from repro.process import Finished
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


def ask_with_needs(
    ask: Callable[[Mapping[str, str], tuple[str, ...]], Finished],
    provide: Callable[[tuple[str, ...]], Mapping[str, str] | None],
    *,
    env: Mapping[str, str],
    known: Mapping[str, str],
) -> Finished:
    """Ask a tool that builds, and where a build fails for want of a module, again with it.

    `ask` gets an environment, at first `env`, and the requirements that builds find in it; `provide` gives one in which
    they find these, None where that cannot be had.
    """
    needs: tuple[str, ...] = ()
    finished = ask(env, needs)
    while finished.returncode and len(needs) < MOST_TRIES:
        need = find_need(finished.stderr, known, needs, others=True)
        better = provide((*needs, need)) if need else None
        if need is None or better is None:
            break
        needs = (*needs, need)
        finished = ask(better, needs)
    return finished
