"""Follow a script through the modules of its project: which files it runs, and what these import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from repro.formats.source_code import Import, find_certain_imports, find_certain_relatives, find_imports
from repro.values import frozen, replace

_MOST_FILES = 500
_MODULES = (".py", ".pyc", ".pyd", ".pyx", ".so")


@frozen
class Source:
    """A file of the project that the script runs, and what it imports; `near` are its relative imports."""

    path: Path
    certain: tuple[Import, ...]
    near: tuple[str, ...]
    possible: tuple[Import, ...]


def _read(path: Path, *, is_main: bool) -> Source | None:
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
    return Source(path=path, certain=certain, near=near, possible=possible)


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


def list_roots(root: Path, script: Path) -> tuple[Path, ...]:
    """Return where a script finds modules of its project."""
    return tuple(dict.fromkeys((root / script.parent, root, root / "src")))


def has_module(directory: Path, name: str) -> bool:
    """Tell whether a directory has a module or a regular package of a name; `mlflow.db` is none."""
    if (directory / name / "__init__.py").is_file():
        return True
    return any(path.name.endswith(_MODULES) for path in directory.glob(f"{name}.*"))


def _list_next(source: Source, roots: tuple[Path, ...]) -> list[Path]:
    """Return the project's own files that running a file surely runs."""
    found = [path for each in source.certain for path in _find_local(each.name, roots)]
    return found + [path for name in source.near for path in _find_near(source.path, name)]


def follow(root: Path, script: Path, *, deep: bool = False) -> Iterator[Source]:
    """Yield a script, relative to `root`, and the modules of the project that it surely imports.

    With `deep` then also those that it may import, in a function or where a condition decides: nothing that these
    import is certain.
    """
    roots = list_roots(root, script)
    sure, maybe, seen = [root / script], list[Path](), set[Path]()
    while (sure or maybe) and len(seen) < _MOST_FILES:
        is_sure = bool(sure)
        path = (sure or maybe).pop(0)
        if path in seen:
            continue
        seen.add(path)
        if source := _read(path, is_main=path == root / script):
            yield source if is_sure else replace(source, certain=())
            (sure if is_sure else maybe).extend(_list_next(source, roots))
            if deep:
                maybe += [found for each in source.possible for found in _find_local(each.name, roots)]
