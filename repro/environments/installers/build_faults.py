"""Know what an old build was written for, by how it fails today, and try it again with that: the one place that does.

An sdist without a pyproject.toml is built with whatever setuptools the index has today, and sees nothing of what is
installed beside it; pip and uv alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from repro.process import Finished
from repro.snapshots.setup_needs import MOST_TRIES, find_need
from repro.values import frozen, replace

# What is said, and the setuptools that still had it, the oldest first.
_REMOVED = (
    (r"cannot import name '?Feature", "setuptools<46"),
    (r"use_2to3 is invalid", "setuptools<58"),
    (r"install_layout|cannot import name '?msvccompiler|No module named '?distutils\.msvccompiler", "setuptools<65"),
    (r"No module named '?setuptools\.command\.test|setuptools has no attribute '?command\.test", "setuptools<72"),
    (r"No module named '?pkg_resources", "setuptools<81"),
)


@frozen
class Aid:
    """What a build gets that it does not ask for: a setuptools, and requirements whose modules it finds."""

    setuptools: str | None = None
    needs: tuple[str, ...] = ()


def find_build_constraint(said: str) -> str | None:
    """Return the requirement that mends a failed build, None where another setuptools would not."""
    return next((constraint for pattern, constraint in _REMOVED if re.search(pattern, said)), None)


def find_aid(said: str, aid: Aid, pins: Mapping[str, str]) -> Aid | None:
    """Return what may mend a build that had an aid and failed, None where nothing is known to.

    Modules come from the distributions that are locked beside it: `pins` are these by canonical name.
    """
    if aid.setuptools is None and (constraint := find_build_constraint(said)):
        return replace(aid, setuptools=constraint)
    need = find_need(said, pins, aid.needs)
    return replace(aid, needs=(*aid.needs, need)) if need else None


def build_with_aid(build: Callable[[Aid], Finished], pins: Mapping[str, str]) -> Finished:
    """Build, and where that fails for want of something that is known, again with it. Raises OSError."""
    aid = Aid()
    finished = build(aid)
    for _ in range(MOST_TRIES):
        better = find_aid(finished.stderr, aid, pins) if finished.returncode else None
        if better is None:
            break
        aid = better
        finished = build(aid)
    return finished


def _write(path: str, lines: Iterable[str]) -> str:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def write_constraint(aid: Aid, directory: str) -> str | None:
    """Write an aid's setuptools as a constraints file into a build's own directory, and return its path."""
    return _write(f"{directory}/build-constraints.txt", (aid.setuptools,)) if aid.setuptools else None


def write_pins(pins: Mapping[str, str], directory: str) -> str:
    """Write what is locked as a constraints file, without what builds itself; return its path."""
    kept = (pin for name, pin in sorted(pins.items()) if name not in ("pip", "setuptools", "wheel"))
    return _write(f"{directory}/locked.txt", kept)
