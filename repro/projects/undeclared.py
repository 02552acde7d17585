"""Find what a script imports at its start and its environment does not have, before it is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from repro.formats.source_code import Import, find_certain_imports, find_certain_relatives, find_imports
from repro.snapshots.provides import guess_distribution
from repro.values import frozen

_OWN = frozenset({"repro", "__main__"})  # a run lends repro to its script
_MOST_FILES = 500


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


@frozen
class _Source:
    """A file of the project that the script runs, and what it imports; `near` are its relative imports."""

    path: Path
    certain: tuple[Import, ...]
    near: tuple[str, ...]
    possible: tuple[Import, ...]


def _read(path: Path, *, is_main: bool) -> _Source | None:
    """Return what a file imports, None where it cannot be read: running it will say why."""
    try:
        content = path.read_bytes()
        certain = find_certain_imports(content, is_main=is_main)
        if b"sys.path" in content or b"site.addsitedir" in content:
            certain = ()  # what it finds then, only running it tells
        near = find_certain_relatives(content, is_main=is_main)
        possible = tuple(each for each in find_imports(content) if not each.optional)
    except (OSError, ValueError):
        return None
    return _Source(path=path, certain=certain, near=near, possible=possible)


def _find_local(name: str, roots: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the project's own files that importing a dotted name runs."""
    parts = name.split(".")
    for root in roots:
        for count in range(1, len(parts) + 1):
            base = root.joinpath(*parts[:count])
            yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file())


def _find_near(path: Path, name: str) -> Iterator[Path]:
    """Yield the project's own files that a relative import in a file runs."""
    inside = name.lstrip(".")
    level = len(name) - len(inside)
    if level <= len(path.parents):
        yield from _find_local(inside, (path.parents[level - 1],))


def _is_local(top: str, roots: tuple[Path, ...]) -> bool:
    return any((root / top).is_dir() or any(root.glob(f"{top}.*")) for root in roots)


def _follow(script: Path, roots: tuple[Path, ...]) -> Iterator[_Source]:
    """Yield the script and the modules of the project that it surely imports."""
    waiting, seen = [script], set[Path]()
    while waiting and len(seen) < _MOST_FILES:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        if source := _read(path, is_main=path == script):
            yield source
            waiting += [found for each in source.certain for found in _find_local(each.name, roots)]
            waiting += [found for name in source.near for found in _find_near(path, name)]


def find_undeclared(root: Path, script: Path, *, has: Callable[[str], bool]) -> tuple[Undeclared, ...]:
    """Return what a script of a project and the project's modules it imports need, and `has` does not know.

    `script` is relative to `root`; `has` tells whether a top-level module can be imported. What may fail without harm
    does not count.
    """
    roots = tuple(dict.fromkeys((root / script.parent, root, root / "src")))
    found: dict[str, Undeclared] = {}
    for source in _follow(root / script, roots):
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
