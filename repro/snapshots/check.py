"""Compare the files of an environment with its RECORDs, as far as they may have changed since the last time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from repro.snapshots.installed import find_altered, read_installed
from repro.snapshots.memory import Altered, Checked, Memory
from repro.snapshots.probe import Found
from repro.snapshots.sweep import Sweep, is_swept, sweep
from repro.values import replace


def _compare(founds: Iterable[Found], *, deep: bool) -> tuple[Altered, ...]:
    altered = []
    for found in founds:
        installed = read_installed(found)
        files = tuple(sorted(find_altered(installed, deep=deep))) if installed else ()
        if files:
            altered.append(Altered(record_sha256=found.record or "", files=files))
    return tuple(altered)


def check_site(site: str, founds: Iterable[Found], *, memory: Memory | None, deep: bool) -> tuple[Sweep, Checked]:
    """Return the sweep of a site directory, and which distributions have files that are not what RECORD says.

    Sizes are compared, or if `deep` the sha256; nothing is compared again where no file has changed since the last
    comparison. Raises OSError.
    """
    now = sweep([site])
    known = memory.find_checked(site) if memory else None
    if known and known.sweep == str(now) and (known.deep or not deep):
        return now, known
    altered = _compare(founds, deep=deep)
    if known:  # what was packed of the same files before needs no packing again
        before = {(each.record_sha256, each.files): each.artefact for each in known.altered if known.sweep == str(now)}
        altered = tuple(replace(each, artefact=before.get((each.record_sha256, each.files))) for each in altered)
    return now, Checked(sweep=str(now), deep=deep, altered=altered)


def check_sites(
    sites: Iterable[str], founds: Mapping[str, Found], *, memory: Memory | None, deep: bool
) -> tuple[Sweep, dict[str, Checked]]:
    """Return the sweep of all site directories that are swept, and what `check_site` says of each."""
    total, checked = Sweep(0, 0), {}
    for site in filter(is_swept, sites):
        mine = [found for found in founds.values() if found.site == site]
        swept, checked[site] = check_site(site, mine, memory=memory, deep=deep)
        total += swept
    return total, checked
