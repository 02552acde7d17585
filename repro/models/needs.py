"""What a model needs of the environment it is saved in: the snapshot, and the ring of what was used."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.errors import ReproError, UsageError
from repro.formats.direct_url import Archive, Index, System, Vcs
from repro.formats.lockfile import FILE_NAME, Distribution, Snapshot, canonicalize_name, format_pin, parse_snapshot
from repro.snapshots.attribution import attribute
from repro.snapshots.drift import compare
from repro.snapshots.here import scan_here
from repro.snapshots.owners import find_roots, read_owners, resolve_paths
from repro.snapshots.probe import Found
from repro.snapshots.running import find_site_directories
from repro.snapshots.take import Taken
from repro.snapshots.trace import Trace
from repro.snapshots.used import mark_used, select
from repro.tracking.active_run import active_run
from repro.tracking.own_record import take_now
from repro.tracking.store import find_text
from repro.values import frozen, replace

_OWN = "repro"
_TOOLS = ("pip", "setuptools", "wheel")


@frozen
class Needs:
    """The whole snapshot, and requirement lines: `pins` of what is used, `left_out` what no index has.

    `tools` are the pins of what installs; `index_urls` where files may come from beside the client's default.
    """

    snapshot: Snapshot
    pins: tuple[str, ...]
    left_out: tuple[str, ...]
    tools: tuple[str, ...]

    @property
    def python(self) -> str | None:
        """The Python's full version."""
        return self.snapshot.interpreter.version if self.snapshot.interpreter else None


def _is_whole(snapshot: Snapshot) -> bool:
    """Tell whether a lock can restore all but what is the system's."""
    return all(snapshot.is_active(each) or isinstance(each.source, System | Vcs) for each in snapshot.distributions)


def _find_snapshot_of_run() -> Snapshot | None:
    """Return the snapshot that the active run has kept, None where it is not whole, or not of what is here."""
    run = active_run()
    text = find_text(run.store, run.run_id, FILE_NAME) if run else None
    if text is None:
        return None
    try:
        snapshot = parse_snapshot(text, where=FILE_NAME)
    except ReproError:
        return None
    return snapshot if _is_whole(snapshot) and not compare(snapshot, scan_here(snapshot)) else None


@lru_cache(maxsize=1)
def _take_as_command_does(sites: tuple[tuple[str, int], ...]) -> Snapshot | None:
    """Take the snapshot as `repro.snapshot()` does, None where the libraries that this takes are not here.

    `sites` are the directories and their mtimes: what has not changed is taken once.
    """
    try:
        from repro.environments.snapshot import take_for

        taken = take_for(Machine.here(), settings.own_python(), path=Path.cwd() / FILE_NAME)
    except (ReproError, ImportError, OSError):
        return None
    return taken.taken.snapshot


def _take_whole() -> Snapshot | None:
    return _take_as_command_does(tuple((path, os.stat(path).st_mtime_ns) for path in find_site_directories()))


def _find_file(module: str) -> str | None:
    """Return the file of an imported module, None for one that has none; no lazy one is asked, which would import."""
    try:
        path = vars(sys.modules.get(module)).get("__file__")
    except TypeError:  # what a library has put there in a module's place
        return None
    return os.path.abspath(path) if isinstance(path, str) else None


def _list_imported() -> frozenset[str]:
    return frozenset(path for path in map(_find_file, list(sys.modules)) if path)


def _find_origins(modules: Sequence[str]) -> frozenset[str]:
    """Return the files of modules that may not have been imported yet."""
    found = set()
    for name in modules:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec and spec.origin:
            found.add(os.path.abspath(spec.origin))
    return frozenset(found)


def _find_used(founds: tuple[Found, ...], paths: frozenset[str]) -> frozenset[str]:
    """Return the distributions that files belong to, repro itself aside: no model needs it."""
    roots = find_roots(founds)
    trace = Trace(paths=resolve_paths(paths, roots))
    return attribute(trace, read_owners(founds), roots).used - {_OWN}


def _as_published(distribution: Distribution) -> Distribution | None:
    """Return a distribution as an installer finds it without our store, None where it does not."""
    match distribution.source:
        case Vcs(url=str()) | Archive():
            return replace(distribution, kept=False)
        case Index() if not distribution.kept:
            return distribution
    return None


def _check_names(names: Sequence[str], snapshot: Snapshot) -> frozenset[str]:
    installed = {each.name for each in snapshot.distributions}
    found = {canonicalize_name(name) for name in names}
    if missing := sorted(found - installed):
        raise UsageError(
            f"the model's dependencies are not installed: {', '.join(f'`{name}`' for name in missing)}",
            hint="name distributions as `pip list` shows them",
        )
    return frozenset(found)


def _select_ring(snapshot: Snapshot, names: frozenset[str]) -> Snapshot:
    installed = frozenset(each.name for each in snapshot.distributions)
    ring = select(snapshot, names & installed)
    return replace(ring, distributions=tuple(each for each in ring.distributions if each.name != _OWN))


def _choose_snapshot(here: Taken) -> Snapshot:
    snapshot = _find_snapshot_of_run() or _take_whole() or here.snapshot
    return mark_used(snapshot, frozenset())


def _is_shipped(module: str, code_paths: Sequence[str | os.PathLike[str]]) -> bool:
    names = (os.path.basename(os.path.abspath(path)) for path in code_paths)
    return module.partition(".")[0] in {name.partition(".")[0] for name in names}


def find_unshipped(modules: Iterable[str], code_paths: Sequence[str | os.PathLike[str]]) -> tuple[tuple[str, str], ...]:
    """Return those of a model's modules that are of no distribution, and their files: nobody else has them."""
    founds = take_now().found
    installed = tuple(f"{place}{os.sep}" for place in (os.path.dirname(os.__file__), *find_roots(founds)))
    unshipped = {}
    for module in sorted({name.partition(".")[0] for name in modules} - {"__main__", _OWN}):
        path = _find_file(module)
        if path is None or path.startswith(installed) or _is_shipped(module, code_paths):
            continue
        if not _find_used(founds, frozenset({path})):  # a working copy's files lie elsewhere
            is_package = os.path.basename(path).startswith("__init__.")
            unshipped[module] = os.path.relpath(os.path.dirname(path) if is_package else path)
    return tuple(unshipped.items())


def find_needs(*, modules: Sequence[str], dependencies: Sequence[str] | None, whole: bool) -> Needs:
    """Return what a model needs whose loader imports `modules`.

    What is used is what this process has imported, or `dependencies`, distributions by name, and what these require.
    The snapshot is the active run's where that holds all of it, else taken now; without `whole` it is only looked at.
    Raises UsageError for a dependency that is not installed.
    """
    here = take_now()
    snapshot = _choose_snapshot(here) if whole else here.snapshot
    imported = _find_origins(modules) | (_list_imported() if dependencies is None else frozenset())
    names = _find_used(here.found, imported) | _check_names(dependencies or (), snapshot)
    ring = _select_ring(snapshot, names)
    published = {each.name: _as_published(each) for each in ring.distributions}
    there = tuple(each for each in published.values() if each)
    tools = tuple(each for each in snapshot.distributions if each.name in _TOOLS and _as_published(each))
    return Needs(
        snapshot=snapshot,
        pins=tuple(map(format_pin, there)),
        left_out=tuple(f"{each.name}=={each.version}" for each in ring.distributions if not published[each.name]),
        tools=tuple(map(format_pin, tools)),
    )
