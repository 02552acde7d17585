"""What the store holds: environments, trees, wheels, and notes that lead nowhere, each with what keeps it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from repro.environments.housekeeping.busy import find_busy
from repro.environments.housekeeping.link_modes import list_dead_probes
from repro.environments.housekeeping.rooms import ROOM_OF, list_entries, list_keys, list_torn_notes
from repro.environments.housekeeping.sizes import Meter, Size, measure
from repro.environments.lookup import name_look
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import Ready
from repro.environments.roots import Root, parse_root
from repro.environments.store import CHECKOUT, Store
from repro.environments.trees import read_uses
from repro.errors import ReproError
from repro.files import hold_free_lock
from repro.snapshots.memory import Memory
from repro.values import frozen

LEFTOVER_S = 3600.0  # a note that is being written has no lock
FORGOTTEN_S = 90 * 86400.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@frozen
class Stored:
    """An environment of the store.

    `is_current` tells whether a restore would find it, `ready` is its marker, `uses` the sha256s of its trees (None
    where it does not say), `used_at` when it was last used (seconds since 1970), `projects` the directories of the
    locks that lead to it, `busy` why it must stay.
    """

    key: str
    path: str
    is_current: bool
    ready: Ready | None
    uses: tuple[str, ...] | None
    size: Size
    used_at: float
    projects: tuple[str, ...] = ()
    busy: str | None = None


@frozen
class Unpacked:
    """A tree; `recoverable` where its wheel is here or can be fetched again."""

    sha256: str
    path: str
    size_bytes: int
    recoverable: bool
    busy: bool = False


@frozen
class Wheel:
    """A wheel; `kept` where no index is known to have it, `wanted` where a lock of a known project names it."""

    sha256: str
    path: str
    filename: str
    size_bytes: int
    kept: bool
    wanted: bool = False


@frozen
class Stray:
    """What leads nowhere or was left by a process that died: its kind, path, and why it may go."""

    kind: str
    path: str
    reason: str
    size_bytes: int = 0


@frozen
class ProjectFiles:
    """What is kept of projects from elsewhere: a checkout, a repository or a zip.

    `room` says which, `used_at` when it was last used (seconds since 1970), `needed` whether a checkout borrows of it.
    """

    room: str
    path: str
    size_bytes: int
    used_at: float
    needed: bool = False


@frozen
class Inventory:
    """Everything that a prune decides on; `caches` are the installers' own, by path with their size in bytes."""

    environments: tuple[Stored, ...]
    trees: tuple[Unpacked, ...]
    wheels: tuple[Wheel, ...]
    strays: tuple[Stray, ...]
    caches: tuple[tuple[str, int], ...]
    total_bytes: int
    projects: tuple[ProjectFiles, ...] = ()


def _read_text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return None


def _is_live(store: Store, root: Root) -> bool:
    """Tell whether a root's lock file still has the bytes it had, or its link leads where it led."""
    if not root.look:
        return os.path.dirname(os.path.realpath(root.lock)) == os.path.realpath(store.room("envs", root.key))
    try:
        with open(root.lock, "rb") as file:
            return name_look(file.read(), root.options) == root.look
    except OSError:
        return False


def list_roots(store: Store) -> Iterator[tuple[str, Root | None]]:
    """Yield the path of each root, and the root where its lock file still leads there."""
    for path in list_entries(store, ROOM_OF["roots"]):
        try:
            root = parse_root(_read_text(path) or "")
        except ValueError:
            yield path, None
            continue
        yield path, root if _is_live(store, root) else None


def list_projects(store: Store) -> Mapping[str, tuple[str, ...]]:
    """Return the lock files that lead to each key."""
    found: dict[str, list[str]] = {}
    for _, root in list_roots(store):
        if root and root.look:
            found.setdefault(root.key, []).append(root.lock)
    return {key: tuple(sorted(set(locks))) for key, locks in found.items()}


def _is_building(store: Store, key: str) -> bool:
    lock = store.room("flocks", f"{key}.lock")
    if not os.path.exists(lock):
        return False
    try:
        with hold_free_lock(lock) as is_free:
            return not is_free
    except OSError:
        return False


def find_linked(store: Store, projects: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return where links that repro made lead, and the `.venv` links beside lock files."""
    places = [os.path.join(os.path.dirname(lock), ".venv") for locks in projects.values() for lock in locks]
    places += [root.lock for _, root in list_roots(store) if root and not root.look]
    return frozenset(os.path.realpath(place) for place in places if os.path.islink(place))


def _find_used_at(path: str) -> float:
    for place in (f"{path}/{READY}", path):
        try:
            return os.stat(place).st_mtime
        except OSError:
            continue
    return 0.0


def list_environments(store: Store, *, busy: frozenset[str] = frozenset()) -> tuple[Stored, ...]:
    """Return every environment, by key; `busy` are the paths that processes use."""
    projects = list_projects(store)
    linked = find_linked(store, projects)
    building = {key for key in list_keys(store) if _is_building(store, key)}
    found = []
    for path in list_entries(store, ROOM_OF["envs"]):
        key = os.path.basename(os.path.dirname(path))
        is_linked = os.path.realpath(path) in linked
        why = "in use by a process" if path in busy else "being built" if key in building else None
        found.append(
            Stored(
                key=key,
                path=path,
                is_current=store.find_current(key) == path,
                ready=store.read_ready(path),
                uses=read_uses(path),
                size=measure(path),
                used_at=_find_used_at(path),
                projects=projects.get(key, ()),
                busy=why or ("linked from a project" if is_linked else None),
            )
        )
    return tuple(found)


def _list_recoverable(store: Store) -> frozenset[str]:
    """Return the wheels that were fetched, or built by a restore, and so can be again."""
    found = {os.path.basename(path) for path in list_entries(store, ROOM_OF["fetched"])}
    found |= {(_read_text(path) or "").strip() for path in list_entries(store, ROOM_OF["built"])}
    return frozenset(found)


def _list_kept_by_locks(locks: Iterable[str]) -> Iterator[str]:
    from repro.snapshots.load import load_lock

    for lock in locks:
        try:
            distributions = load_lock(lock).snapshot.distributions
        except (ReproError, OSError):
            continue
        yield from (hash_ for each in distributions if each.kept for hash_ in each.hashes)


def list_wheels(store: Store) -> tuple[Wheel, ...]:
    """Return every wheel; one counts as kept unless it is known to be fetched or built, and by nobody to be kept."""
    locks = sorted({lock for each in list_projects(store).values() for lock in each})
    wanted = {hash_.removeprefix("sha256:") for hash_ in _list_kept_by_locks(locks)}
    records = Memory(Path(store.room())).list_artefacts()
    kept = wanted | {hash_.removeprefix("sha256:") for each in records if each.kept for hash_ in each.hashes}
    recoverable = _list_recoverable(store) - kept
    found = []
    for path in list_entries(store, ROOM_OF["wheels"]):
        sha256 = os.path.basename(path)
        found.append(
            Wheel(
                sha256=sha256,
                path=path,
                filename=", ".join(sorted(os.listdir(path))),
                size_bytes=Meter().count([path]),
                kept=sha256 not in recoverable,
                wanted=sha256 in wanted,
            )
        )
    return tuple(found)


def list_trees(store: Store, *, busy: frozenset[str] = frozenset()) -> tuple[Unpacked, ...]:
    """Return every tree."""
    recoverable = _list_recoverable(store) | {os.path.basename(each) for each in list_entries(store, ROOM_OF["wheels"])}
    return tuple(
        Unpacked(
            sha256=os.path.basename(path),
            path=path,
            size_bytes=Meter().count([path]),
            recoverable=os.path.basename(path) in recoverable,
            busy=path in busy,
        )
        for path in list_entries(store, ROOM_OF["trees"])
    )


def _is_old(path: str, seconds: float, now_s: float) -> bool:
    try:
        return now_s - os.lstat(path).st_mtime > seconds
    except OSError:
        return False


def _is_abandoned(store: Store, path: str) -> bool:
    """Tell whether a staging directory's owner is gone: it has no lock, or a free one (see Store.stage)."""
    lock = store.room("flocks", f"stage-{os.path.basename(path)}.lock")
    if not os.path.exists(lock):
        return True
    try:
        with hold_free_lock(lock) as is_free:
            return is_free
    except OSError:
        return False


def _leads_nowhere(store: Store, path: str) -> str | None:
    """Return why a note may go, None where it still leads somewhere."""
    room, text = os.path.basename(os.path.dirname(path)), _read_text(path)
    if text is None:
        return None
    if room == "looks" and not os.path.lexists(store.room("envs", text.strip() or "-", "current")):
        return "its environment is gone"
    if room in ("built", "fetched"):
        sha256 = text.strip() if room == "built" else os.path.basename(path)
        is_here = any(os.path.isdir(store.room(place, sha256 or "-")) for place in ("wheels", "trees"))
        return None if _SHA256.fullmatch(sha256) and is_here else "its wheel is gone"
    if room == "interpreters" and not os.path.exists(_find_interpreter(text)):
        return "its interpreter is gone"
    if room == "sites" and not all(os.path.isdir(each[5:]) for each in text.splitlines() if each.startswith("site ")):
        return "its directory is gone"
    return None


def _find_interpreter(text: str) -> str:
    try:
        return str(json.loads(text)["path"])
    except (ValueError, KeyError, TypeError):
        return ""


def _is_lock_needed(store: Store, path: str, trees: frozenset[str]) -> bool:
    """Tell whether what a lock is for is there; of a place that was restored into only its digest is known."""
    kind, _, name = os.path.basename(path).removesuffix(".lock").rpartition("-")
    if kind == "tree":
        return name in trees
    return os.path.isdir(store.room(*{"": ("envs", name), "stage": ("tmp", name)}.get(kind, ("flocks", "-"))))


def _list_stray_locks(store: Store) -> Iterator[Stray]:
    """Yield the locks of what is gone; whether one is held is asked when it is removed."""
    trees = frozenset(os.path.basename(path)[:16] for path in list_entries(store, ROOM_OF["trees"]))
    for path in list_entries(store, ROOM_OF["flocks"]):
        if not _is_lock_needed(store, path, trees):
            yield Stray(kind="flocks", path=path, reason="what it locked is gone")


def _list_stray_notes(store: Store, now_s: float) -> Iterator[Stray]:
    for room in ("looks", "built", "fetched", "interpreters", "sites"):
        for path in list_entries(store, ROOM_OF[room]):
            if reason := _leads_nowhere(store, path):
                yield Stray(kind=room, path=path, reason=reason)
    for room, what in (("takes", "written"), ("checked", "written"), ("seen", "written"), ("locks", "used")):
        for path in list_entries(store, ROOM_OF[room]):
            if _is_old(path, FORGOTTEN_S, now_s):
                yield Stray(kind=room, path=path, reason=f"{what} 90 days ago")
    for path, root in list_roots(store):
        if root is None:
            yield Stray(kind="roots", path=path, reason="its lock is gone or another")
    for path in list_torn_notes(store):
        if _is_old(path, LEFTOVER_S, now_s):
            yield Stray(kind="tmp", path=path, reason="left by a process that died")


def list_strays(store: Store, now_s: float) -> Iterator[Stray]:
    """Yield what leads nowhere, and what processes that died have left."""
    for path in list_entries(store, ROOM_OF["tmp"]):
        if _is_abandoned(store, path):
            size = Meter().count([path])
            yield Stray(kind="tmp", path=path, reason="left by a process that died", size_bytes=size)
    keys = set(list_keys(store))
    for path in list_entries(store, ROOM_OF["pycache"]):
        if os.path.basename(path) not in keys:
            size = Meter().count([path])
            yield Stray(kind="pycache", path=path, reason="its environment is gone", size_bytes=size)
    for path in list_dead_probes(store.root):
        yield Stray(kind="probe", path=path, reason="left by a process that died", size_bytes=Meter().count([path]))
    yield from _list_stray_notes(store, now_s)
    yield from _list_stray_locks(store)


def list_caches(store: Store) -> tuple[tuple[str, int], ...]:
    """Return the installers' own caches that hold something, with their size in bytes."""
    tools = (room for room in ROOM_OF.values() if not room.names)
    paths = [path for room in tools for path in list_entries(store, room) if os.listdir(path)]
    return tuple((path, Meter().count([path])) for path in paths)


def _read_repository(checkout: str) -> str:
    """Return the name of the repository that a checkout borrows of."""
    try:
        content = json.loads(_read_text(f"{checkout}/{CHECKOUT}") or "")
    except (ValueError, RecursionError):
        return ""
    return str(content.get("repository", "")) if isinstance(content, dict) else ""


def _find_last_use(path: str) -> float:
    for place in (f"{path}/{CHECKOUT}", path):
        with suppress(OSError):
            return os.stat(place).st_mtime
    return 0.0


def list_project_files(store: Store) -> tuple[ProjectFiles, ...]:
    """Return what is kept of projects, checkouts first."""
    checkouts = list(list_entries(store, ROOM_OF["checkouts"]))
    needed = {_read_repository(path) for path in checkouts}
    others = [path for room in ("repositories", "archives", "models") for path in list_entries(store, ROOM_OF[room])]
    return tuple(
        ProjectFiles(
            room=os.path.relpath(path, store.room()).partition("/")[0],
            path=path,
            size_bytes=Meter().count([path]),
            used_at=_find_last_use(path),
            needed=os.path.basename(path) in needed,
        )
        for path in (*checkouts, *others)
    )


def take_inventory(store: Store) -> Inventory:
    """Look at everything in the store. Raises ReproError."""
    busy = find_busy(store)
    meter = Meter()
    return Inventory(
        environments=list_environments(store, busy=busy),
        trees=list_trees(store, busy=busy),
        wheels=list_wheels(store),
        strays=tuple(list_strays(store, time.time())),
        caches=list_caches(store),
        projects=list_project_files(store),
        total_bytes=sum(meter.count(list_entries(store, room)) for room in ROOM_OF.values()),
    )
