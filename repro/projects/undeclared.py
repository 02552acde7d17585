"""Find what a script imports at its start and its environment does not have, before it is started."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from repro.projects.own_code import follow, has_module, list_roots
from repro.snapshots.provides import guess_distribution
from repro.values import frozen

_OWN = frozenset({"repro", "__main__"})  # a run lends repro to its script


@frozen
class Undeclared:
    """A module that is imported, where, and the distribution that has it, None where that is only a guess.

    `certain` tells that the script cannot start without it.
    """

    module: str
    file: str
    line: int
    distribution: str | None
    certain: bool


def _is_local(top: str, roots: tuple[Path, ...]) -> bool:
    return any((root / top).is_dir() or has_module(root, top) for root in roots)


def find_undeclared(root: Path, script: Path, *, has: Callable[[str], bool]) -> tuple[Undeclared, ...]:
    """Return what a script of a project and the project's modules it imports need, and `has` does not know.

    `script` is relative to `root`; `has` tells whether a top-level module can be imported. What may fail without harm
    does not count.
    """
    roots = list_roots(root, script)
    found: dict[str, Undeclared] = {}
    for source in follow(root, script):
        certain = {(each.name, each.line) for each in source.certain}
        for each in source.possible:
            top = each.name.partition(".")[0]
            if top in _OWN or has(top) or _is_local(top, roots):
                continue
            is_certain = (each.name, each.line) in certain
            if top in found and (found[top].certain or not is_certain):
                continue
            distribution, is_known = guess_distribution(each.name)
            found[top] = Undeclared(
                module=top,
                file=os.path.relpath(source.path, root),
                line=each.line,
                distribution=distribution if is_known else None,
                certain=is_certain,
            )
    return tuple(found.values())
