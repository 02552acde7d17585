"""Remove what a plan says: each entry moves to `trash/` in one step under the store's lock, and is deleted after it.

A prune that is killed leaves entries whole, or in `trash/`, which the next one empties. A build holds the same lock
shared, so that what it has found stays. A look-up holds none: it marks the environment as used, and one that was marked
since the plan was made moves back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from repro.environments.housekeeping.busy import find_busy
from repro.environments.housekeeping.inventory import Inventory, list_strays, take_inventory
from repro.environments.housekeeping.plan import Plan, Removal, Rules, make_stray_removal, plan_clear, plan_prune
from repro.environments.housekeeping.rooms import (
    ROOM_OF,
    is_store,
    list_entries,
    list_keys,
    list_torn_notes,
    require_store,
)
from repro.environments.housekeeping.sizes import Meter
from repro.environments.ready import FILE_NAME as READY
from repro.environments.store import Store
from repro.errors import ReproError
from repro.files import hold_free_lock, hold_lock, new_nonce, remove_free_lock, remove_tree
from repro.values import replace

Report = Callable[[str], None]
_PREFIXES = {"tmp": "stage", "checkout": "checkout"}  # of the locks whose names are never used again


def _empty_trash(store: Store) -> None:
    """Delete what was moved out; of two at once, one deletes and the other waits."""
    with hold_lock(store.room("flocks", "trash.lock")):
        for path in list_entries(store, ROOM_OF["trash"]):
            with suppress(FileNotFoundError):
                remove_tree(path)


def _move(path: str, target: str) -> None:
    try:
        os.rename(path, target)
    except PermissionError:  # a directory that is read-only to us cannot change its parent
        mode = os.lstat(path).st_mode
        os.chmod(path, mode | 0o700)
        os.rename(path, target)


def _was_used_since(path: str, used_at: float) -> bool:
    try:
        return os.stat(f"{path}/{READY}").st_mtime > used_at
    except OSError:
        return False


@contextmanager
def _hold_entry(store: Store, removal: Removal) -> Iterator[bool]:
    """Hold the lock of an entry, where its kind has one; False where somebody else does."""
    parent, name = os.path.split(removal.path)
    lock = {
        "environment": os.path.basename(parent),
        "tree": f"tree-{name[:16]}",
        "tmp": f"stage-{name}",
        "checkout": f"checkout-{name}",
        "repository": f"mirror-{name[:16]}",
        "model": f"model-{name[:16]}",
    }
    stem = lock.get(removal.kind)
    if stem is None:
        yield True
        return
    with hold_free_lock(store.room("flocks", f"{stem}.lock")) as is_held:
        yield is_held


def _remove(store: Store, removal: Removal) -> str | None:
    """Move an entry out of its room and return where it is now, None where it is in use after all, or gone."""
    if removal.kind == "flocks":
        return removal.path if os.path.lexists(removal.path) and remove_free_lock(removal.path) else None
    if not os.path.isdir(removal.path) or os.path.islink(removal.path):
        with suppress(FileNotFoundError):
            os.unlink(removal.path)
            return removal.path
        return None
    with _hold_entry(store, removal) as is_held:
        if not is_held:
            return None
        target = store.room("trash", new_nonce())
        _move(removal.path, target)
        if removal.used_at is not None and _was_used_since(target, removal.used_at):
            os.rename(target, removal.path)
            return None
        if removal.kind in ("tmp", "checkout"):
            with suppress(FileNotFoundError):
                os.unlink(store.room("flocks", f"{_PREFIXES[removal.kind]}-{os.path.basename(removal.path)}.lock"))
    return target


def _put_back_busy(store: Store, moved: dict[str, Removal]) -> list[Removal]:
    """Move back the environments that processes use which started while the plan was made; and return the others."""
    if not any(removal.used_at is not None for removal in moved.values()):
        return list(moved.values())
    busy, left = find_busy(store), []
    for place, removal in moved.items():
        if removal.used_at is not None and busy & {place, removal.path}:
            os.rename(place, removal.path)
        else:
            left.append(removal)
    return left


def _list_parents(store: Store, room: str) -> list[str]:
    top = store.room(room)
    return [f"{top}/{name}" for name in os.listdir(top)] if os.path.isdir(top) else []


def _drop_empty_keys(store: Store) -> None:
    """Remove the directories of keys that have no environment any more, and what killed builds left in others."""
    for path in _list_parents(store, "checkouts"):
        with suppress(OSError):  # it has others
            os.rmdir(path)
    kept = {os.path.dirname(path) for path in list_entries(store, ROOM_OF["envs"])}
    for key in list_keys(store):
        directory = store.room("envs", key)
        names = os.listdir(directory)
        links = [name for name in names if name.startswith("current.") and name.endswith(".tmp")]
        if directory not in kept:
            links += [name for name in names if name == "current"]
        for name in links:
            if os.path.islink(f"{directory}/{name}"):
                os.unlink(f"{directory}/{name}")
        if directory not in kept:
            with suppress(OSError):  # something that is not ours lies there
                os.rmdir(directory)


def _sweep(store: Store) -> tuple[Removal, ...]:
    """Remove the notes that lead nowhere now."""
    strays = [make_stray_removal(each) for each in list_strays(store, time.time())]
    return tuple(each for each in strays if _remove(store, each))


def _perform(store: Store, plan: Plan) -> Plan:
    """Do what a plan says and return what was really removed."""
    moved, notes = {}, list(plan.notes)
    for removal in plan.removals:
        try:
            place = _remove(store, removal)
        except OSError as error:
            notes.append(f"`{removal.path}` cannot be removed ({error.strerror})")
            continue
        if place:
            moved[place] = removal
        elif removal.used_at is not None:
            notes.append(f"`{removal.path}` stays: it was used just now")
    done = _put_back_busy(store, moved)
    _drop_empty_keys(store)
    return replace(plan, removals=(*done, *_sweep(store)), notes=tuple(notes))


def _decide_and_do(store: Store, decide: Callable[[Inventory], Plan], report: Report, *, dry_run: bool) -> Plan:
    require_store(store)
    if not is_store(store):
        return Plan(removals=(), total_bytes=0)
    if dry_run:
        return decide(take_inventory(store))
    store.prepare()
    try:
        with hold_lock(store.gate, lambda: report("waiting: an environment is being built, or the cache pruned")):
            plan = _perform(store, decide(take_inventory(store)))
        _empty_trash(store)
    except OSError as error:
        raise ReproError(f"the cache `{store.root}` cannot be pruned ({error})") from error
    return plan


def prune(store: Store, rules: Rules, *, dry_run: bool, report: Report) -> Plan:
    """Remove what the rules let go, and return what that was, or with `dry_run` would be. Raises ReproError."""
    return _decide_and_do(
        store, lambda inventory: plan_prune(inventory, rules, now_s=time.time()), report, dry_run=dry_run
    )


def _list_everything(store: Store) -> list[tuple[str, str, int]]:
    """Return room, path and bytes of every entry, files that several rooms share counted once."""
    meter = Meter()
    found = [
        (room.name, path, meter.count([path]))
        for room in ROOM_OF.values()
        if room.name != "trash"
        for path in list_entries(store, room)
    ]
    return found + [("tmp", path, meter.count([path])) for path in list_torn_notes(store)]


def clear(store: Store, *, dry_run: bool, report: Report) -> Plan:
    """Remove everything that the layout lists but what is in use, and return what that was, or would be.

    Raises ReproError.
    """
    return _decide_and_do(
        store, lambda inventory: plan_clear(inventory, _list_everything(store)), report, dry_run=dry_run
    )
