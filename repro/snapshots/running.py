"""Take the snapshot of the interpreter that runs us, in-process: no process is started and no index asked."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Sequence

from repro.formats.direct_url import Index
from repro.inside.probe import probe_interpreter
from repro.snapshots.memory import Memory
from repro.snapshots.probe import read_report
from repro.snapshots.recall import describe
from repro.snapshots.take import Taken, strip_hashes
from repro.values import replace


def _read_pth_directories(directory: str) -> Iterator[str]:
    """Yield what the .pth files of a site directory add to `sys.path` (the module site's documentation)."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".pth") and not name.startswith("."))
    except OSError:
        return
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield os.path.join(directory, line.rstrip())


def find_site_directories() -> list[str]:
    """Return the directories of `sys.path` that a probe looks into: not the script's, not PYTHONPATH's."""
    sites = [os.path.normpath(path) for path in site.getsitepackages()]
    if site.ENABLE_USER_SITE and sys.prefix == sys.base_prefix:
        sites.append(os.path.normpath(site.getusersitepackages()))
    known = {*sites, *(os.path.normpath(path) for each in sites for path in _read_pth_directories(each))}
    return [path for path in dict.fromkeys(sys.path) if os.path.normpath(path) in known and os.path.isdir(path)]


def take_here(memory: Memory | None, *, directories: Sequence[str], index_urls: tuple[str, ...] = ()) -> Taken:
    """Take the snapshot of our own environment: hashes where the memory knows all of them, else plain pins."""
    report = read_report(probe_interpreter(list(directories)))
    described, notes = describe(report, memory=memory)
    is_known = all(each.hashes for each in described.distributions if isinstance(each.source, Index))
    snapshot = described if is_known else strip_hashes(described)
    return Taken(
        snapshot=replace(snapshot, index_urls=index_urls),
        python=report.executable,
        prefix=report.prefix,
        notes=tuple(notes),
        found=report.found,
    )
