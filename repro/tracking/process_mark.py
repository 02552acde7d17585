"""Mark the process that a run lives in, and tell later whether it is there still.

The mark is a run's tag: the host, the boot (`/proc/sys/kernel/random/boot_id`), the process id, in which namespace that
counts (pid_namespaces(7)), and when it started, in clock ticks since the boot (proc(5)), so that another process with
the same id is not taken for it.
"""

from __future__ import annotations

import json
import os
from enum import Enum

from repro.files import find_boot
from repro.values import asdict, frozen

TAG = "repro.process"


class Life(Enum):
    """What is known of a process."""

    ALIVE = "alive"
    GONE = "gone"
    ELSEWHERE = "elsewhere"


@frozen
class ProcessMark:
    """A process: `started` in clock ticks since its host's boot."""

    host: str
    boot: str
    pid: int
    started: int
    namespace: str = ""


def _read_start(pid: int) -> int | None:
    """Return when a process started, None where there is none, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _find_namespace() -> str:
    """Return what names the process ids of this container, empty where nothing does."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _is_hidden(pid: int) -> bool:
    """Tell whether a process is there of which /proc shows nothing: of another user (`hidepid`), or without /proc."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return not os.path.exists(f"/proc/{pid}/stat")


def mark_process(pid: int | None = None) -> str:
    """Return the tag of a process, by default of this one."""
    pid = os.getpid() if pid is None else pid
    mark = ProcessMark(
        host=os.uname().nodename,
        boot=find_boot(),
        pid=pid,
        started=_read_start(pid) or 0,
        namespace=_find_namespace(),
    )
    return json.dumps(asdict(mark), sort_keys=True)


def parse_mark(text: str) -> ProcessMark | None:
    """Return the process of a tag, None for a text that is none."""
    try:
        fields = json.loads(text)
        return ProcessMark(
            host=str(fields["host"]),
            boot=str(fields["boot"]),
            pid=int(fields["pid"]),
            started=int(fields["started"]),
            namespace=str(fields.get("namespace", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def find_life(mark: ProcessMark) -> Life:
    """Tell whether a process is there; one of another host or container cannot be seen, one of an earlier boot is gone.

    One of which its system shows nothing is as good as elsewhere.
    """
    if mark.host != os.uname().nodename:
        return Life.ELSEWHERE
    if mark.boot != find_boot():
        return Life.GONE
    if mark.namespace and mark.namespace != _find_namespace():
        return Life.ELSEWHERE
    started = _read_start(mark.pid)
    if started is None and mark.pid > 0 and _is_hidden(mark.pid):
        return Life.ELSEWHERE
    return Life.ALIVE if started == mark.started else Life.GONE
