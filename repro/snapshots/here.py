"""Compare a lock with the interpreter that runs this: in-process, in a few milliseconds, at every load of a model.

Standard library only. Names and versions are taken from the directories' names and METADATA is read only where those
say something else than the lock; files are not compared: their RECORDs alone would take longer than all of this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from repro import settings
from repro.formats.direct_url import Archive, Directory, Index, Local, Source
from repro.formats.lockfile import Distribution, Interpreter, Snapshot, canonicalize_name, is_name
from repro.inside.probe import describe_interpreter
from repro.snapshots.drift import Drift, compare, is_same_version
from repro.snapshots.load import Loaded, load_lock
from repro.snapshots.origin import find_source
from repro.snapshots.severity import NOTHING_KNOWN, Known
from repro.values import mutable, replace

_HEAD_BYTES = 8192


@mutable
class _Entry:
    """A `.dist-info` or `.egg-info` of a site directory, by what its name says."""

    site: str
    entry: str
    name: str
    version: str

    @property
    def path(self) -> str:
        return f"{self.site}/{self.entry}"

    @property
    def has_record(self) -> bool:
        return os.path.exists(f"{self.path}/RECORD")


def _read(path: str, size: int = -1) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return None


def _describe_python() -> Interpreter:
    facts = describe_interpreter()
    return Interpreter(**{key: facts[key] for key in ("implementation", "version", "abi", "platform", "libc")})


def _list_own_dirs() -> set[str]:
    """Return the directories that are on `sys.path` for the script: its own, the working directory, PYTHONPATH."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    given = settings.get_import_path(settings.own_environment())
    try:
        found = {os.getcwd(), *map(os.path.abspath, given)}
        return found | {os.path.dirname(os.path.abspath(main))} if main else found
    except FileNotFoundError:  # the working directory was removed
        return set(given)


def list_site_dirs() -> list[str]:
    """Return the directories whose distributions count as installed, in import order: see `inside/probe.py`.

    What is on `sys.path` for the script alone does not count.
    """
    left_out = {os.path.dirname(os.__file__), sys.prefix, sys.base_prefix, *_list_own_dirs()}
    return [
        path
        for path in dict.fromkeys(map(os.path.normpath, filter(None, sys.path)))
        if path not in left_out and not path.endswith("lib-dynload") and os.path.isdir(path)
    ]


def _list_entries(site: str) -> Iterator[_Entry]:
    try:
        names = sorted(os.listdir(site))
    except OSError:
        return
    for name in names:
        if name.endswith((".dist-info", ".egg-info")) and not name.startswith("~"):
            stem, _, version = name.rpartition(".")[0].partition("-")
            yield _Entry(site=site, entry=name, name=canonicalize_name(stem), version=version.partition("-py")[0])


def _choose(entries: Iterator[_Entry], chosen: dict[str, _Entry]) -> None:
    """Keep the distribution that Python would import for each name: see `describe.choose_founds`."""
    for entry in entries:
        earlier = chosen.setdefault(entry.name, entry)
        if earlier is entry or earlier.site != entry.site:
            continue
        if (entry.has_record, entry.version) > (earlier.has_record, earlier.version):
            chosen[entry.name] = entry


def _read_version(entry: _Entry) -> str:
    """Return the version that METADATA or PKG-INFO states, else the one in the directory's name."""
    for path in (f"{entry.path}/METADATA", f"{entry.path}/PKG-INFO", entry.path):
        for line in (_read(path, _HEAD_BYTES) or "").splitlines():
            if line[:8].lower() == "version:":
                return line[8:].strip()
    return entry.version


def _is_of_conda(entry: _Entry) -> bool:
    return (_read(f"{entry.path}/INSTALLER") or "").strip() == "conda"


def _find_source(entry: _Entry, *, in_conda: bool) -> Source:
    try:
        return find_source(
            site=entry.site,
            entry=entry.entry,
            prefix=sys.prefix,
            is_of_conda=in_conda and _is_of_conda(entry),
            direct_url=_read(f"{entry.path}/direct_url.json"),
        )
    except ValueError:
        return Index()


def _may_be(source: Source, locked: Distribution) -> bool:
    """Tell whether the locked one can stand behind what was found: without its files, these kinds look alike."""
    alike = Index | Archive | Local | Directory
    return isinstance(source, alike) and (locked.kept or isinstance(locked.source, alike))


def _make_distribution(entry: _Entry, locked: Distribution | None, *, in_conda: bool) -> Distribution:
    """Return the locked distribution itself where it is the one that is here."""
    source = _find_source(entry, in_conda=in_conda)
    version = entry.version
    if not version or (locked and version != locked.version):
        version = _read_version(entry)
    if locked is None:
        return Distribution(name=entry.name, version=version, source=source)
    if is_same_version(version, locked.version) and (source == locked.source or _may_be(source, locked)):
        return locked
    source = locked.source if _may_be(source, locked) else source
    return replace(locked, version=version, source=source, record=None, file=None, hashes=(), proof=None)


def scan_here(lock: Snapshot) -> Snapshot:
    """Return what the running interpreter holds, as far as it can be told from `lock` without reading files."""
    chosen: dict[str, _Entry] = {}
    for site in list_site_dirs():
        _choose(_list_entries(site), chosen)
    locked = {each.name: each for each in lock.distributions}
    in_conda = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
    names = sorted(filter(is_name, chosen))  # no lock has any other
    found = [_make_distribution(chosen[name], locked.get(name), in_conda=in_conda) for name in names]
    return Snapshot(interpreter=_describe_python(), distributions=tuple(found))


def compare_here(path: str | os.PathLike[str], *, known: Known = NOTHING_KNOWN) -> tuple[Loaded, Drift]:
    """Return the lock at `path` (a file or its directory), and what differs from it in the running interpreter.

    `drift.without_added()` is what keeps the environment from satisfying the lock. Raises SnapshotNotFoundError and
    InvalidSnapshotError.
    """
    loaded = load_lock(path, get_python=_describe_python)
    return loaded, compare(loaded.snapshot, scan_here(loaded.snapshot), known=known)
