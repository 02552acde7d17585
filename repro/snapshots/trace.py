"""Read what the observer has noted of a run (`inside/observe.py`, `inside/process_facts.py`), as a value.

The directory was the script's to write into, so nothing in it is trusted: what is not as expected is left out.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator

from repro.inside.observe import PENDING
from repro.values import frozen

_MOST_BYTES = 64 << 20
Scalar = str | int | bool | None


@frozen
class Library:
    """A library that a process had loaded at its end; `threads` is how many it would use."""

    kind: str
    path: str
    version: str | None = None
    architecture: str | None = None
    threading: str | None = None
    threads: int | None = None


@frozen
class Process:
    """What the numbers of one process depend on; `cpus` is how many it was allowed to use."""

    libraries: tuple[Library, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    torch: tuple[tuple[str, Scalar], ...] | None = None
    locale: str | None = None
    cpus: int | None = None
    hash_randomization: bool | None = None
    optimize: int | None = None


@frozen
class Trace:
    """What all processes of a run have imported: files, and by `names` what cannot be told by its file.

    `processes` are those that have ended well, the first started first.
    """

    paths: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    processes: tuple[Process, ...] = ()


def parse_imports(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the paths and the names that one file of the observer's says were imported.

    A name counts by itself where its module has no file to tell, and where its process was killed before it could tell;
    one that was looked for long before and never loaded does not: it is not installed, or was not imported.
    """
    paths, names = set(), set()
    open_names: dict[str, dict[str, None]] = {}
    for line in text.split("\n"):
        match line.split("\t"):
            case [process, name]:
                open_names.setdefault(process, {})[name] = None
            case [process, name, path]:
                open_names.get(process, {}).pop(name, None)
                paths.add(path)
                names.add(name if not path else "")
            case [process] if process:
                open_names.pop(process, None)
    for unsettled in open_names.values():
        names.update(list(unsettled)[-PENDING:])
    return frozenset(paths - {""}), frozenset(names - {""})


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _read_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _read_library(value: object) -> Library | None:
    if not isinstance(value, dict) or not isinstance(value.get("path"), str) or not isinstance(value.get("kind"), str):
        return None
    texts = {key: _read_text(value.get(key)) for key in ("version", "architecture", "threading")}
    return Library(kind=value["kind"], path=value["path"], threads=_read_number(value.get("threads")), **texts)


def _read_pairs(value: object) -> tuple[tuple[str, Scalar], ...]:
    if not isinstance(value, dict):
        return ()
    return tuple(sorted((key, item) for key, item in value.items() if item is None or isinstance(item, str | int)))


def parse_process(text: str) -> Process | None:
    """Return what a process's file says, None where it was cut short or is none."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    libraries = content.get("libraries")
    found = map(_read_library, libraries if isinstance(libraries, list) else [])
    return Process(
        libraries=tuple(library for library in found if library),
        variables=tuple((name, item) for name, item in _read_pairs(content.get("variables")) if isinstance(item, str)),
        torch=_read_pairs(content["torch"]) if isinstance(content.get("torch"), dict) else None,
        locale=_read_text(content.get("locale")),
        cpus=_read_number(content.get("cpus")),
        hash_randomization=_read_flag(content.get("hash_randomization")),
        optimize=_read_number(content.get("optimize")),
    )


def _read_file(path: str) -> str | None:
    """Return a regular file's text, never waiting for one that is something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return file.read(_MOST_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return None


def _read_files(directory: str) -> Iterator[tuple[str, str]]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if (text := _read_file(os.path.join(directory, name))) is not None:
            yield name, text


def read_trace(directory: str) -> Trace:
    """Return what was noted in a directory; nothing where it is gone."""
    paths: set[str] = set()
    names: set[str] = set()
    processes = []
    for file_name, text in _read_files(directory):
        if file_name.endswith(".imports"):
            more_paths, more_names = parse_imports(text)
            paths |= more_paths
            names |= more_names
        elif process := parse_process(text):
            processes.append(process)
    return Trace(paths=frozenset(paths), names=frozenset(names), processes=tuple(processes))
