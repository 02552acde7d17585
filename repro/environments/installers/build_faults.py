"""Know which setuptools an old setup.py was written for, by how it fails with the newest: what it used was removed.

An sdist without a pyproject.toml is built with whatever setuptools the index has today; pip and uv alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from repro.process import Finished

# What is said, and the setuptools that still had it, the oldest first.
_REMOVED = (
    (r"cannot import name '?Feature", "setuptools<46"),
    (r"use_2to3 is invalid", "setuptools<58"),
    (r"install_layout|cannot import name '?msvccompiler|No module named '?distutils\.msvccompiler", "setuptools<65"),
    (r"No module named '?setuptools\.command\.test|setuptools has no attribute '?command\.test", "setuptools<72"),
    (r"No module named '?pkg_resources", "setuptools<81"),
)


def find_build_constraint(said: str) -> str | None:
    """Return the requirement that mends a failed build, None where another setuptools would not."""
    return next((constraint for pattern, constraint in _REMOVED if re.search(pattern, said)), None)


def build_with_its_setuptools(build: Callable[[str | None], Finished], directory: str) -> Finished:
    """Build, and where that fails for what setuptools has removed, again; `build` gets a constraints file or None.

    The file lies in the build's own directory. Raises OSError.
    """
    finished = build(None)
    constraint = find_build_constraint(finished.stderr) if finished.returncode else None
    if constraint is None:
        return finished
    path = Path(directory, "build-constraints.txt")
    path.write_text(f"{constraint}\n", encoding="utf-8")
    return build(str(path))
