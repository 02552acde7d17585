"""The one command that mends a difference: the smallest that does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from repro.formats.direct_url import Index
from repro.formats.lockfile import FILE_NAME, Snapshot, is_version
from repro.snapshots.drift import Change, Drift
from repro.snapshots.gaps import GapKind, Needs
from repro.values import frozen

_FEW = 3  # what is installed one by one; more is restored


@frozen
class Place:
    """Where the lock lies, as the user named it, and the interpreter of the environment it is compared with.

    `is_given` tells an interpreter that the user has named from one that was found.
    """

    lock: str
    python: str
    is_given: bool = False


def advise_restore(place: Place) -> str:
    """Return the command that gives the environment of the lock."""
    return shlex.join(["repro", "restore", place.lock])


def advise_snapshot(place: Place) -> str:
    """Return the command that locks what the environment holds."""
    path = Path(place.lock)
    if path.is_dir():
        words = ["repro", "snapshot", place.lock]
    elif path.name == FILE_NAME:
        words = ["repro", "snapshot", str(path.parent)]
    else:
        words = ["repro", "snapshot", "-o", place.lock]
    return shlex.join([*words, *(["--python", place.python] if place.is_given else [])])


def _pip(place: Place, here: Snapshot) -> list[str]:
    """Return the words that install into the environment: with its own pip, else with the one on PATH."""
    if any(each.name == "pip" for each in here.distributions):
        return [place.python, "-m", "pip", "install"]
    return ["pip", "--python", place.python, "install"]


def _find_pin(change: Change) -> str | None:
    """Return the requirement of the locked version, None where name and version do not say which files."""
    before = change.before
    if before is None or before.kept or before.source != Index() or not is_version(before.version):
        return None
    return f"{before.name}=={before.version}"


def _advise_install(changes: Sequence[Change], *, here: Snapshot, place: Place) -> str | None:
    """Return the command that installs the few locked versions that differ."""
    pins = [pin for change in changes if (pin := _find_pin(change))]
    if len(pins) < len(changes) or len(changes) > _FEW:
        return None
    again = any(change.kind == "changed" and "version" not in change.aspects for change in changes)
    options = ["--no-deps", *(["--force-reinstall"] if again else [])]
    return shlex.join([*_pip(place, here), *options, *pins])


def advise_environment(drift: Drift, *, here: Snapshot, place: Place) -> str | None:
    """Return the command after which the environment satisfies the lock; None where nothing differs.

    An environment that only has more than the lock needs no mending: the lock is what lacks something.
    """
    if not drift:
        return None
    needed = drift.without_added()
    if not needed:
        return advise_snapshot(place)
    install = None if needed.interpreters else _advise_install(needed.changes, here=here, place=place)
    return install or advise_restore(place)


def _list_wanted(drift: Drift, needs: Needs) -> list[str]:
    """Return what the code imports and the environment lacks: what the lock pins, and what is well known."""
    removed = [change for change in drift.select("removed") if change.name in needs.imported]
    known = [gap.distribution for gap in needs.gaps if gap.kind is GapKind.MISSING and gap.is_known]
    return [*(pin for change in removed if (pin := _find_pin(change))), *known]


def advise(drift: Drift, needs: Needs, *, here: Snapshot, place: Place) -> str | None:
    """Return the command after which lock, environment and code agree; None where they do.

    Where the code needs what the lock lacks, no restore helps: what is missing is installed, and the lock taken anew.
    """
    if not needs.gaps:
        return advise_environment(drift, here=here, place=place)
    wanted = _list_wanted(drift, needs)
    install = f"{shlex.join([*_pip(place, here), *wanted])} && " if wanted else ""
    return install + advise_snapshot(place)
