"""Compare the files of an environment with its RECORDs, as far as they may have changed since the last time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

from repro.snapshots.installed import find_altered, read_installed
from repro.snapshots.memory import Altered, Checked, Memory
from repro.snapshots.probe import Found
from repro.snapshots.sweep import sweep


def _compare(founds: Iterable[Found], *, deep: bool) -> tuple[Altered, ...]:
    altered = []
    for found in founds:
        installed = read_installed(found)
        files = tuple(sorted(find_altered(installed, deep=deep))) if installed else ()
        if files:
            altered.append(Altered(record_sha256=found.record or "", files=files))
    return tuple(altered)


def is_swept(site: str) -> bool:
    """Tell whether a directory holds installed packages alone: what a .pth file adds may be a whole project."""
    return os.path.basename(site) in ("site-packages", "dist-packages")


def check_site(site: str, founds: Iterable[Found], *, memory: Memory | None, deep: bool) -> Checked:
    """Return which distributions of a site directory have files that differ from RECORD in size, or `deep` in sha256.

    Nothing is compared again where no file has changed since the last comparison. Raises OSError.
    """
    now = str(sweep([site]))
    known = memory.find_checked(site) if memory else None
    if known and known.sweep == now and (known.deep or not deep):
        return known
    altered = _compare(founds, deep=deep)
    if known:  # what was packed of the same files before needs no packing again
        before = {(each.record_sha256, each.files): each.artefact for each in known.altered if known.sweep == now}
        altered = tuple(replace(each, artefact=before.get((each.record_sha256, each.files))) for each in altered)
    return Checked(sweep=now, deep=deep, altered=altered)


def check_sites(
    sites: Iterable[str], founds: Mapping[str, Found], *, memory: Memory | None, deep: bool
) -> dict[str, Checked]:
    """Return what `check_site` says of each site directory that is swept."""
    checked = {}
    for site in filter(is_swept, sites):
        mine = [found for found in founds.values() if found.site == site]
        if mine:
            checked[site] = check_site(site, mine, memory=memory, deep=deep)
    return checked
