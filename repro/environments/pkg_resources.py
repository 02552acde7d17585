"""Find what needs `pkg_resources` in an environment that has none: setuptools 82 took it away, and few ask for it.

Sources are read, never run; done once for a lock, since it reads every Python file that is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from repro.formats.source_code import find_imports
from repro.formats.wanted import Place, Required

MODULE = "pkg_resources"
REQUIRED = Required(name="setuptools", text="setuptools<81", place=Place(file="what imports pkg_resources"))
_NOT_ITS_OWN = frozenset({MODULE, "setuptools", "_distutils_hack", "pip", "wheel"})
_TESTS = frozenset({"test", "tests", "testing", "__pycache__"})


def _list_sources(top: str) -> Iterator[str]:
    if top.endswith(".py"):
        yield top
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name not in _TESTS]
        yield from (os.path.join(directory, file) for file in files if file.endswith(".py"))


def _imports_it(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            content = file.read()
        return MODULE.encode() in content and any(
            each.name.partition(".")[0] == MODULE and not each.optional for each in find_imports(content)
        )
    except (OSError, ValueError):
        return False


def find_site_dir(env_dir: str) -> Path | None:
    """Return where the distributions of an environment lie."""
    return next(iter(sorted(Path(env_dir).glob("lib/python*/site-packages"))), None)


def has_pkg_resources(env_dir: str) -> bool:
    """Tell whether an environment has the module."""
    site = find_site_dir(env_dir)
    return site is not None and (site / MODULE).is_dir()


def find_importer(env_dir: str) -> str | None:
    """Return an installed module that imports `pkg_resources` and cannot do without, None where none does."""
    site = find_site_dir(env_dir)
    for name in sorted(os.listdir(site)) if site else ():
        if name in _NOT_ITS_OWN or name.endswith((".dist-info", ".data", ".libs")):
            continue
        if any(map(_imports_it, _list_sources(f"{site}/{name}"))):
            return name.removesuffix(".py")
    return None
