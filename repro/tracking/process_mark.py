"""Mark the process that a run lives in, and tell later whether it is there still.

The mark is a run's tag: the host, the boot (`/proc/sys/kernel/random/boot_id`), the process id and when it started, in
clock ticks since the boot (proc(5)), so that another process with the same id is not taken for it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import Enum

from repro.files import find_boot

TAG = "repro.process"


class Life(Enum):
    """What is known of a process."""

    ALIVE = "alive"
    GONE = "gone"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """A process: `started` in clock ticks since its host's boot."""

    host: str
    boot: str
    pid: int
    started: int


def _read_start(pid: int) -> int | None:
    """Return when a process started, None where there is none, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def mark_process(pid: int | None = None) -> str:
    """Return the tag of a process, by default of this one."""
    pid = os.getpid() if pid is None else pid
    mark = ProcessMark(host=os.uname().nodename, boot=find_boot(), pid=pid, started=_read_start(pid) or 0)
    return json.dumps(asdict(mark), sort_keys=True)


def parse_mark(text: str) -> ProcessMark | None:
    """Return the process of a tag, None for a text that is none."""
    try:
        fields = json.loads(text)
        return ProcessMark(
            host=str(fields["host"]), boot=str(fields["boot"]), pid=int(fields["pid"]), started=int(fields["started"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def find_life(mark: ProcessMark) -> Life:
    """Tell whether a process is there; one of another host cannot be seen, one of an earlier boot is gone."""
    if mark.host != os.uname().nodename:
        return Life.ELSEWHERE
    if mark.boot != find_boot():
        return Life.GONE
    return Life.ALIVE if _read_start(mark.pid) == mark.started else Life.GONE
