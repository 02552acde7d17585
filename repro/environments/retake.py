"""Tell whether a lock is still what a snapshot would write, without taking one: the hot path of `repro snapshot`.

What a snapshot has to look at is where an interpreter's distributions lie and whether any file there has changed. The
first is remembered with what it depends on (the interpreter, its pyvenv.cfg, its site directories and their .pth
files), the second is the sum of the files' ctimes. With the bytes of the lock and the options that makes a key; under
it lies what was said of the snapshot. Imports nothing that this does not need.

    <store>/sites/<digest>    `site <path>` and `stamp <mtime in ns> <size in bytes> <path>` lines, of one interpreter
    <store>/takes/<digest>    what was said of the snapshot: lines of text; for a run what it was: see run_take.py;
                              of an environment that it is sound: see sound.py
"""

from __future__ import annotations

import os

import repro
from repro import settings
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import find_stamp
from repro.files import make_directory, write_atomically
from repro.snapshots.sweep import SweepAhead, is_swept, sweep

try:
    from _blake2 import blake2b  # what hashlib.blake2b is, without the 3 ms that loading OpenSSL takes
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from repro.environments.store import Store

_FORMAT = "1"


def _digest(*parts: str | bytes) -> str:
    digest = blake2b(digest_size=32)
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return digest.hexdigest()


def _find_sites_path(store: Store, python: str, environ: Mapping[str, str]) -> str:
    user = [environ.get(name, "") for name in ("HOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE")]
    return store.room("sites", _digest(_FORMAT, os.path.abspath(python), *user))


def _stamp(path: str) -> str:
    stamp = find_stamp(path)
    return f"stamp {stamp}" if stamp else f"stamp 0 -1 {path}"


def _list_dependencies(python: str, sites: Iterable[str]) -> list[str]:
    """Return the files and directories that decide where an interpreter's distributions lie."""
    bin_dir = os.path.dirname(os.path.abspath(python))
    found = [os.path.realpath(python), os.path.join(os.path.dirname(bin_dir), "pyvenv.cfg"), f"{bin_dir}/pyvenv.cfg"]
    for site in sites:
        found.append(site)
        with os.scandir(site) as entries:
            names = (entry.name for entry in entries)
            found += [f"{site}/{name}" for name in names if name.endswith((".pth", "customize.py", ".egg-link"))]
    return found


def keep_sites(store: Store, python: str, sites: Sequence[str], *, environ: Mapping[str, str], since_ns: int) -> None:
    """Remember where the distributions of `python` lie, as a probe that began at `since_ns` has found.

    Where any of what decides it changed since then, nothing is remembered.
    """
    try:
        dependencies = _list_dependencies(python, sites)
        stamps = [find_stamp(path) for path in dependencies]
        if any(stamp and stamp.mtime_ns >= since_ns for stamp in stamps):
            return
        lines = [*(f"site {site}" for site in sites), *map(_stamp, dependencies)]
        path = _find_sites_path(store, python, environ)
        make_directory(os.path.dirname(path))
        write_atomically(path, "\n".join(lines) + "\n", durable=False)
    except OSError:
        return  # only the next snapshot's time is lost


def find_sites(store: Store, python: str, environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return where the distributions of `python` lie, None where that is not known or may have changed."""
    try:
        with open(_find_sites_path(store, python, environ), encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "stamp" and _stamp(rest.split(" ", 2)[2]) != line:
            return None
    return tuple(line[5:] for line in lines if line.startswith("site "))


def list_options(environ: Mapping[str, str], project: str | os.PathLike[str], *, python: str) -> list[str]:
    """Return what else than environment and lock decides on a snapshot without options: version, indexes asked."""
    files = settings.list_pip_files(environ, settings.find_prefix(python))
    files += [path for paths in settings.list_uv_files(environ, os.path.abspath(project)) for path in paths]
    return [repro.__version__, *settings.list_index_variables(environ), *map(_stamp, files)]


def begin_sweep(
    store: Store, python: str, environ: Mapping[str, str], *, env_dir: str | None = None
) -> SweepAhead | None:
    """Begin to sum the sites of `python` beside this process, and all of an environment where one is named.

    For a `sum_sites` soon; None where nothing is known of what to sum.
    """
    sites = find_sites(store, python, environ)
    if sites is None and env_dir is None:
        return None
    try:
        return SweepAhead(filter(is_swept, sites or ()), env_dir=env_dir, marker=READY)
    except OSError:
        return None


def sum_sites(sites: Iterable[str], *, split: bool, ahead: SweepAhead | None = None) -> str | None:
    """Return the sum of the ctimes of all files in the site directories, None where they cannot be read.

    With `split` two processes share the work, which takes a process without other threads. What was begun `ahead` is
    taken where it is of these sites.
    """
    swept = tuple(filter(is_swept, sites))
    try:
        return str((ahead and ahead.find_sites(swept)) or sweep(swept, split=split))
    except OSError:
        return None


def name_take(python: str, sites: Iterable[str], *, swept: str, lock: bytes, options: Sequence[str]) -> str:
    """Return the name under which it is remembered that these sites give this lock: a digest over all of it."""
    return _digest(_FORMAT, os.path.abspath(python), *sites, swept, "\0".join(options), lock)


def find_take(
    store: Store, python: str, *, lock: bytes, options: Sequence[str], environ: Mapping[str, str]
) -> str | None:
    """Return what was said when a snapshot of `python` gave exactly the bytes `lock`, None where it may give others."""
    sites = find_sites(store, python, environ)
    if sites is None:
        return None
    swept = sum_sites(sites, split=True)
    if swept is None:
        return None
    return read_take(store, name_take(python, sites, swept=swept, lock=lock, options=options))


def read_take(store: Store, name: str) -> str | None:
    """Return what is remembered under a name, None where nothing is."""
    try:
        with open(store.room("takes", name), encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return None


def keep_take(store: Store, name: str, text: str) -> None:
    """Remember what was said of a snapshot."""
    try:
        path = store.room("takes", name)
        make_directory(os.path.dirname(path))
        write_atomically(path, text, durable=False)
    except OSError:
        return
