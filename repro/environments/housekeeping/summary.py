"""What the store is, room by room."""

from __future__ import annotations

import os
from collections.abc import Mapping

from repro.environments.housekeeping.inventory import list_wheels
from repro.environments.housekeeping.link_modes import find_link_modes
from repro.environments.housekeeping.rooms import ROOMS, is_store, list_entries, require_store
from repro.environments.housekeeping.sizes import Meter
from repro.environments.housekeeping.tools import find_tools
from repro.environments.machine import Machine
from repro.environments.store import LAYOUT_VERSION
from repro.values import frozen


@frozen
class RoomSummary:
    """A room: how many entries, and the bytes they add to those of the rooms before it."""

    name: str
    meaning: str
    count: int
    size_bytes: int


@frozen
class Summary:
    """The store at `root`: whether it is there, its rooms, kept wheels, link modes, and the tools' versions."""

    root: str
    exists: bool
    rooms: tuple[RoomSummary, ...]
    kept_wheels: int
    link_modes: tuple[str, ...]
    tools: Mapping[str, str | None]

    @property
    def total_bytes(self) -> int:
        """The bytes of all rooms, each inode counted once."""
        return sum(room.size_bytes for room in self.rooms)

    def to_dict(self) -> dict[str, object]:
        """Return the summary for `--json`."""
        return {
            "root": self.root,
            "exists": self.exists,
            "layout": LAYOUT_VERSION,
            "total_bytes": self.total_bytes,
            "rooms": {each.name: {"count": each.count, "size_bytes": each.size_bytes} for each in self.rooms},
            "kept_wheels": self.kept_wheels,
            "link_modes": list(self.link_modes),
            "tools": dict(self.tools),
        }


def _find_modes(root: str) -> tuple[str, ...]:
    try:
        return find_link_modes(root)
    except OSError:
        return ()


def summarize(machine: Machine) -> Summary:
    """Return what the store is. Raises ReproError where it is no store, or not ours to trust."""
    store = machine.store
    require_store(store)
    exists, meter, rooms = is_store(store), Meter(), []
    for room in ROOMS:
        paths = list(list_entries(store, room)) if exists else []
        count = len(paths) if room.names else sum(bool(os.listdir(path)) for path in paths)
        rooms.append(RoomSummary(name=room.name, meaning=room.meaning, count=count, size_bytes=meter.count(paths)))
    return Summary(
        root=store.root,
        exists=exists,
        rooms=tuple(rooms),
        kept_wheels=sum(wheel.kept for wheel in list_wheels(store)) if exists else 0,
        link_modes=_find_modes(store.root) if exists else (),
        tools=find_tools(machine),
    )
