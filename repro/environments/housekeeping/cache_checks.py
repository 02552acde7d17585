"""Look whether the store can be trusted and written, and whether its environments are what they were."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence

from repro.environments.housekeeping.checks import Check, Health
from repro.environments.housekeeping.inventory import list_projects
from repro.environments.housekeeping.link_modes import find_link_modes
from repro.environments.housekeeping.rooms import ROOM_OF, is_store, list_entries, require_store
from repro.environments.housekeeping.sizes import format_bytes
from repro.environments.lookup import is_intact
from repro.environments.manifest import Damage, Entry, compare_deeply, compare_stats, read_manifest
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready, find_stamp
from repro.environments.store import Store
from repro.errors import ReproError

_LOW_BYTES = 2_000_000_000
_FULL_BYTES = 100_000_000
_LOW_FILES = 20_000
_CLOCK_SLACK_S = 300.0
_SHOWN_DAMAGE = 10


def is_trusted(store: Store) -> bool:
    """Tell whether the store, where there is one, is ours to trust."""
    try:
        require_store(store)
    except (ReproError, OSError):
        return False
    return True


def check_trust(store: Store) -> Check:
    """Say whether there is a store here, ours, and nobody else's to write."""
    try:
        require_store(store)
    except ReproError as error:
        return Check(about="cache", subject=store.root, health=Health.BAD, text=error.message, hint=error.hint)
    if not is_store(store):
        return Check(
            about="cache", subject=store.root, health=Health.GOOD, text="not there yet: the first restore makes it"
        )
    if not os.access(store.root, os.W_OK):
        text = "read-only: what is there can be used, nothing is added"
        return Check(about="cache", subject=store.root, health=Health.DOUBTFUL, text=text)
    return Check(about="cache", subject=store.root, health=Health.GOOD, text="trusted, writable")


def _describe(path: str, projects: Sequence[str], damage: Damage) -> Check:
    lines = damage.describe()
    more = (f"and {len(lines) - _SHOWN_DAMAGE} more",) if len(lines) > _SHOWN_DAMAGE else ()
    return Check(
        about="environment",
        subject=path,
        health=Health.BAD,
        text=f"{len(lines)} file(s) are not as they were installed",
        hint=f"repro restore --repair {projects[0] if projects else 'LOCK'}",
        details=(*lines[:_SHOWN_DAMAGE], *more),
    )


def _compare(path: str, entries: Sequence[Entry], *, deep: bool) -> Damage:
    return compare_deeply(path, entries) if deep else compare_stats(path, entries)


def _check_environment(path: str, ready: Ready, projects: Sequence[str], *, deep: bool) -> Check:
    again = f"repro restore {projects[0] if projects else 'LOCK'}"
    try:
        damage = _compare(path, read_manifest(path), deep=deep)
    except (OSError, ValueError) as error:
        text = f"its manifest cannot be read ({error})"
        return Check(about="environment", subject=path, health=Health.BAD, text=text, hint=again)
    if damage:
        return _describe(path, projects, damage)
    if str(find_stamp(ready.interpreter.path)) != str(ready.interpreter):
        text = f"its interpreter `{ready.interpreter.path}` was replaced or removed: a restore builds another"
        return Check(about="environment", subject=path, health=Health.DOUBTFUL, text=text, hint=again)
    if not is_intact(path, ready):
        text = "a name was added or removed in one of its directories: a restore builds another"
        return Check(about="environment", subject=path, health=Health.BAD, text=text, hint=again)
    return Check(about="environment", subject=path, health=Health.GOOD, text="as installed")


def check_environments(store: Store, *, deep: bool) -> Iterator[Check]:
    """Yield how each environment is that a restore would find: by sizes and times, or with `deep` by content."""
    projects = list_projects(store)
    for path in list_entries(store, ROOM_OF["envs"]):
        key = os.path.basename(os.path.dirname(path))
        if store.find_current(key) != path:
            continue
        ready = store.read_ready(path)
        if ready is None:
            text = "its marker is missing or damaged: it is not used"
            hint = f"repro restore {projects[key][0] if key in projects else 'LOCK'}"
            yield Check(about="environment", subject=path, health=Health.BAD, text=text, hint=hint)
        else:
            yield _check_environment(path, ready, projects.get(key, ()), deep=deep)


def _find_place(store: Store) -> str | None:
    """Return the store's directory, where it is not there yet the one it would be made in."""
    places = (store.root, os.path.dirname(store.root))
    return next((place for place in places if os.path.isdir(place)), None)


def _find_parent(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def check_links(store: Store) -> Check:
    """Say how files are shared there."""
    place = _find_place(store)
    if place is None:
        text = "not tried out: the directory is not there yet"
        return Check(about="links", subject=store.root, health=Health.GOOD, text=text)
    try:
        modes = find_link_modes(place)
    except OSError as error:
        text = f"cannot be tried out in `{place}` ({error.strerror})"
        return Check(about="links", subject=store.root, health=Health.DOUBTFUL, text=text)
    health = Health.DOUBTFUL if modes == ("copy",) else Health.GOOD
    text = ", ".join(modes) + (": every environment takes its full size" if health is Health.DOUBTFUL else "")
    return Check(about="links", subject=store.root, health=health, text=text)


def check_space(store: Store) -> Check:
    """Say how much room there is, in bytes and in files."""
    place = _find_parent(store.root)
    free, found = shutil.disk_usage(place).free, os.statvfs(place)
    text, hint = f"{format_bytes(free)} free", "repro cache prune"
    if found.f_files and found.f_favail < _LOW_FILES:
        text = f"only {found.f_favail} more files fit"
        return Check(about="disk", subject=place, health=Health.DOUBTFUL, text=text, hint=hint)
    health = Health.BAD if free < _FULL_BYTES else Health.DOUBTFUL if free < _LOW_BYTES else Health.GOOD
    return Check(about="disk", subject=place, health=health, text=text, hint=None if health is Health.GOOD else hint)


def check_own_clock(store: Store) -> Check:
    """Say whether anything in the store was used in what is the future now: then the clock has jumped."""
    ahead = 0.0
    for path in list_entries(store, ROOM_OF["envs"]):
        try:
            ahead = max(ahead, os.stat(f"{path}/{READY}").st_mtime - time.time())
        except OSError:
            continue
    if ahead > _CLOCK_SLACK_S:
        text = f"an environment was used {ahead / 3600:.1f} hours from now: the clock was, or is, wrong"
        return Check(about="clock", subject="this machine", health=Health.DOUBTFUL, text=text)
    return Check(about="clock", subject="this machine", health=Health.GOOD, text="not behind the cache")
