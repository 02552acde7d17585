"""Decide what a prune removes: values in, values out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from repro.environments.housekeeping.inventory import Inventory, ProjectFiles, Stored, Stray, Unpacked, Wheel
from repro.environments.housekeeping.sizes import format_bytes
from repro.values import frozen

_KINDS = {"checkouts": "checkout", "repositories": "repository", "archives": "zip", "models": "model"}
DAY_S = 86400.0
UNUSED_S = 90 * DAY_S


@frozen
class Rules:
    """What may go: environments not used for `older_than_s`, or that no project uses; until `max_bytes` are left.

    With `kept`, wheels that no index has go too where no environment and no known project's lock needs them.
    """

    older_than_s: float = UNUSED_S
    max_bytes: int | None = None
    unreferenced: bool = False
    kept: bool = False


@frozen
class Removal:
    """What is removed, and why; an environment only while `used_at` is as it was.

    `kind` is `environment`, `tree`, `wheel`, `kept wheel`, `checkout`, `repository`, `zip`, `cache`, or the room of a
    note that leads nowhere.
    """

    kind: str
    name: str
    path: str
    reason: str
    size_bytes: int
    used_at: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the removal for `--json`."""
        return {
            "kind": self.kind,
            "name": self.name,
            "path": self.path,
            "reason": self.reason,
            "size_bytes": self.size_bytes,
        }


@frozen
class Plan:
    """What a prune removes, in order, what would be left of `total_bytes`, and what its reader should know."""

    removals: tuple[Removal, ...]
    total_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def freed_bytes(self) -> int:
        """What is freed."""
        return sum(each.size_bytes for each in self.removals)


def _find_reason(stored: Stored, rules: Rules, now_s: float) -> str | None:
    if stored.ready is None:
        return "never finished, or damaged"
    if not stored.is_current:
        return "superseded by a newer one of its key"
    if now_s - stored.used_at > rules.older_than_s:
        return f"not used for {int((now_s - stored.used_at) // DAY_S)} days"
    if rules.unreferenced and not stored.projects:
        return "no known project uses it"
    return None


def _remove_environment(stored: Stored, reason: str) -> Removal:
    return Removal(
        kind="environment",
        name=stored.key,
        path=stored.path,
        reason=reason,
        size_bytes=stored.size.own_bytes,
        used_at=stored.used_at,
    )


def _remove_project_files(files: ProjectFiles, reason: str) -> Removal:
    return Removal(
        kind=_KINDS[files.room],
        name=files.path.rpartition("/")[2][:16],
        path=files.path,
        reason=reason,
        size_bytes=files.size_bytes,
    )


def _list_unused_projects(inventory: Inventory, rules: Rules, now_s: float) -> Iterator[Removal]:
    """Yield what is kept of projects and models, and not used for long; a repository stays as long as its checkouts."""
    for files in inventory.projects:
        unused_s = now_s - files.used_at
        if unused_s > rules.older_than_s and not files.needed:
            yield _remove_project_files(files, f"not used for {int(unused_s // DAY_S)} days")


def _is_needed_wheel(wheel: Wheel, used: frozenset[str], rules: Rules) -> bool:
    return wheel.sha256 in used or (wheel.kept and (wheel.wanted or not rules.kept))


def _list_unused(inventory: Inventory, left: Sequence[Stored], rules: Rules) -> Iterator[Removal]:
    """Yield the trees and wheels that none of the environments left is made of."""
    used = frozenset(sha256 for stored in left for sha256 in stored.uses or ())
    going = {each.sha256 for each in inventory.wheels if not _is_needed_wheel(each, used, rules)}
    kept = {each.sha256 for each in inventory.wheels if each.kept}
    for tree in inventory.trees:
        if tree.sha256 not in used and not tree.busy and (tree.recoverable or rules.kept):
            yield _remove_tree(tree)
    for wheel in inventory.wheels:
        if wheel.sha256 in going:
            kind = "kept wheel" if wheel.sha256 in kept else "wheel"
            yield Removal(
                kind=kind,
                name=wheel.filename,
                path=wheel.path,
                reason="no environment uses it",
                size_bytes=wheel.size_bytes,
            )


def _remove_tree(tree: Unpacked) -> Removal:
    return Removal(
        kind="tree",
        name=tree.sha256[:16],
        path=tree.path,
        reason="no environment uses it",
        size_bytes=tree.size_bytes,
    )


def _complete(inventory: Inventory, gone: Sequence[Removal], rules: Rules) -> tuple[Removal, ...]:
    """Return removals with the trees and wheels that nothing uses after them."""
    paths = {each.path for each in gone}
    left = [each for each in inventory.environments if each.path not in paths]
    if any(each.uses is None for each in left):
        return tuple(gone)
    return (*gone, *_list_unused(inventory, left, rules))


def _shrink(inventory: Inventory, gone: list[Removal], rules: Rules, max_bytes: int) -> tuple[Removal, ...]:
    """Return removals until no more than `max_bytes` are left: installers' caches, then the longest unused first."""
    paths = {each.path for each in gone}
    first = [
        Removal(kind="cache", name=path.rpartition("/")[2], path=path, reason="an installer's cache", size_bytes=size)
        for path, size in inventory.caches
    ]
    least = sorted((each for each in inventory.projects if not each.needed), key=lambda each: each.used_at)
    first += [_remove_project_files(each, "to make room") for each in least if each.path not in paths]
    oldest = sorted((each for each in inventory.environments if not each.busy), key=lambda each: each.used_at)
    then = [_remove_environment(each, "to make room") for each in oldest if each.path not in paths]
    found = _complete(inventory, gone, rules)
    for removal in (*first, *then):
        if inventory.total_bytes - sum(each.size_bytes for each in found) <= max_bytes:
            break
        gone.append(removal)
        found = _complete(inventory, gone, rules)
    return found


def _list_notes(inventory: Inventory, plan: Plan, rules: Rules) -> Iterator[str]:
    going = {each.path for each in plan.removals}
    left = [each for each in inventory.environments if each.path not in going]
    silent = [each for each in left if each.uses is None]
    if silent:
        yield f"trees and wheels stay: `{silent[0].path}` does not say which it is made of"
    for each in left:
        if each.busy and (each.ready is None or not each.is_current):
            yield f"`{each.path}` stays: {each.busy}"
    remaining = plan.total_bytes - plan.freed_bytes
    if rules.max_bytes is not None and remaining > rules.max_bytes:
        yield f"{format_bytes(remaining)} are left: what is in use, kept wheels, and what is known of files"
    if lost := [each.name for each in plan.removals if each.kind == "kept wheel"]:
        yield f"{len(lost)} kept wheel(s) that no index is known to have: {', '.join(lost)}"


def make_stray_removal(stray: Stray) -> Removal:
    """Return the removal of what leads nowhere."""
    name = stray.path.rpartition("/")[2][:16]
    return Removal(kind=stray.kind, name=name, path=stray.path, reason=stray.reason, size_bytes=stray.size_bytes)


def plan_prune(inventory: Inventory, rules: Rules, *, now_s: float) -> Plan:
    """Return what a prune removes at a time (seconds since 1970)."""
    gone = [
        _remove_environment(stored, reason)
        for stored in inventory.environments
        if not stored.busy and (reason := _find_reason(stored, rules, now_s))
    ]
    gone += _list_unused_projects(inventory, rules, now_s)
    if rules.max_bytes is None:
        removals = _complete(inventory, gone, rules)
    else:
        removals = _shrink(inventory, gone, rules, rules.max_bytes)
    strays = map(make_stray_removal, inventory.strays)
    plan = Plan(removals=(*removals, *strays), total_bytes=inventory.total_bytes)
    notes = tuple(_list_notes(inventory, plan, rules))
    return Plan(removals=plan.removals, total_bytes=plan.total_bytes, notes=notes)


def plan_clear(inventory: Inventory, entries: Sequence[tuple[str, str, int]]) -> Plan:
    """Return what clearing removes: every entry (room, path, bytes) but what is in use, and what that is made of."""
    busy = [each for each in inventory.environments if each.busy]
    used = {sha256 for each in busy for sha256 in each.uses or ()}
    is_silent = any(each.uses is None for each in busy)
    held = {each.path for each in busy} | {each.path for each in inventory.trees if each.busy}
    keys = {each.key for each in busy}
    kept = {each.path for each in inventory.wheels if each.kept}
    removals = []
    for room, path, size in entries:
        name = path.rpartition("/")[2]
        if path in held or (room == "pycache" and name in keys):
            continue
        if room in ("trees", "wheels") and (is_silent or name in used):
            continue
        kind = {"envs": "environment", "trees": "tree", "wheels": "wheel", **_KINDS}.get(room, room)
        kind = "kept wheel" if path in kept else kind
        removals.append(Removal(kind=kind, name=name[:16], path=path, reason="cleared", size_bytes=size))
    notes = tuple(f"`{each.path}` stays: {each.busy}" for each in busy)
    return Plan(removals=tuple(removals), total_bytes=inventory.total_bytes, notes=notes)
