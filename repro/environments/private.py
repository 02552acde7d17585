"""A private environment: a writable one of the user's own, equal to a lock, that pip and uv may change.

    DIR/
        repro-private        the marker, written last: which lock it was made for, and where
        repro-manifest       what was made: tells what the user has changed since
        repro-unfinished     while its empty beginning is made
        bin/  lib/ ...       copies of the trees' files (clones where the file system has them), never links to them

It is made in `.repro-<digest of DIR's path>-<nonce>/` beside DIR and moved into place; the environment that was there
before waits in the same directory, and comes back where anything fails. The directories that a killed process has left
are settled in the same way by the next restore into DIR.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from io import FileIO

from repro import settings
from repro.environments.assemble import Blueprint, list_entries
from repro.environments.build import choose_creator, plan_order
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.manifest import (
    Damage,
    Entry,
    compare_stats,
    describe_file,
    find_extra,
    format_manifest,
    read_manifest,
)
from repro.environments.order import Order
from repro.environments.restore import Request, plan_request
from repro.environments.store import Store
from repro.errors import RestoreError, Terminated, UsageError
from repro.files import BLOCK_BYTES, hold_lock, new_nonce, remove_tree, write_atomically
from repro.formats.lockfile import Interpreter
from repro.snapshots.load import locate_lock
from repro.values import frozen, replace

FILE_NAME = "repro-private"
_TITLE = "repro-private 1"
_UNFINISHED = "repro-unfinished"
_OURS = frozenset({FILE_NAME, MANIFEST, _UNFINISHED, ".lock"})  # uv holds .lock while it installs
_FICLONE = 0x40049409  # ioctl_ficlone(2); other systems answer that they do not know it
_SHOWN = 20
# What venv, virtualenv, uv and pip put at the top of an environment; `src` is pip's, for editables of commits.
_USUAL = frozenset(
    {".gitignore", ".lock", "CACHEDIR.TAG", "bin", "etc", "include", "lib", "lib64", "local", "man", "pyvenv.cfg",
     "share", "src", *_OURS}
)  # fmt: skip


@frozen
class Mark:
    """What a private environment's marker says: key and digest of what it was made from, and where it was made."""

    key: str
    digest: str
    path: str


def format_mark(mark: Mark) -> str:
    """Return a marker's text."""
    return f"{_TITLE}\nkey {mark.key}\ndigest {mark.digest}\npath {mark.path}\n"


def parse_mark(text: str) -> Mark:
    """Return what a marker's text says. Raises ValueError where it is none, or cut off."""
    lines = text.split("\n")
    if len(lines) != 5 or lines[0] != _TITLE or lines[4]:
        raise ValueError("no marker of a private environment, or one that is cut off")
    names = ("key ", "digest ", "path ")
    if not all(line.startswith(name) for line, name in zip(lines[1:4], names, strict=True)):
        raise ValueError("a line of the marker is not what it should be")
    key, digest, path = (line.partition(" ")[2] for line in lines[1:4])
    return Mark(key=key, digest=digest, path=path)


def find_mark(env_dir: str) -> Mark | None:
    """Return the marker of a private environment, None where a directory is none."""
    try:
        with open(f"{env_dir}/{FILE_NAME}", encoding="utf-8") as file:
            return parse_mark(file.read())
    except (OSError, ValueError):
        return None


class Standing(Enum):
    """What is at the place of an environment that is to be made."""

    FREE = 0
    """Nothing, or an empty directory."""
    OURS = 1
    """An environment with our marker."""
    FOREIGN = 2
    """A virtual environment that somebody else made, and nothing besides."""
    OTHER = 3
    """Anything else."""


def find_standing(place: str) -> Standing:
    """Tell what is at a place. Raises OSError where it cannot be looked at."""
    if not os.path.lexists(place):
        return Standing.FREE
    if not os.path.isdir(place):
        return Standing.OTHER
    names = set(os.listdir(place))
    if not names:
        return Standing.FREE
    if find_mark(place):
        return Standing.OURS
    is_environment = "pyvenv.cfg" in names and os.path.lexists(f"{place}/bin/python") and names <= _USUAL
    return Standing.FOREIGN if is_environment else Standing.OTHER


def _is_users(path: str) -> bool:
    """Tell whether a path is anything that a change of would be the user's deed: Python itself writes bytecode."""
    return path not in _OURS and "__pycache__" not in path.split("/")


def _is_altered(env_dir: str, entry: Entry) -> bool:
    """Tell whether a file or link whose size, mtime or target is another one has another content too."""
    try:
        now = describe_file(env_dir, entry.path)
    except OSError:
        return True
    return (now.sha256, now.target) != (entry.sha256, entry.target)


def _fold(paths: Sequence[str], known: Sequence[Entry]) -> list[str]:
    """Return paths with those in a directory that is itself new told by that directory."""
    there = {parent for entry in known for parent in _list_parents(entry.path)}
    folded = (next((f"{each}/" for each in _list_parents(path) if each not in there), path) for path in paths)
    return list(dict.fromkeys(folded))


def _list_parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def find_changes(env_dir: str) -> Damage:
    """Return what the user has changed, removed or added in a private environment since it was made."""
    try:
        entries = read_manifest(env_dir)
    except (OSError, ValueError):
        return Damage(changed=(MANIFEST,))
    found = compare_stats(env_dir, entries)
    suspects = set(found.changed)
    changed = [each.path for each in entries if each.path in suspects and _is_altered(env_dir, each)]
    extra = [path for path in find_extra(env_dir, entries) if _is_users(path)]
    return Damage(changed=changed, missing=found.missing, extra=_fold(extra, entries))


def _refuse_changes(place: str, changes: Damage) -> None:
    lines = Damage(changed=changes.changed, extra=changes.extra).describe()
    more = (f"... and {len(lines) - _SHOWN} more",) if len(lines) > _SHOWN else ()
    raise RestoreError(
        f"`{place}` was changed since repro made it",
        hint="make it again, without these changes, with `--force`",
        details=(*lines[:_SHOWN], *more),
    )


def _decide(place: str, order: Order, *, force: bool) -> bool:
    """Tell whether an environment is to be made at a place; else it is there. Raises RestoreError and OSError."""
    standing = find_standing(place)
    if standing is Standing.OTHER:
        raise RestoreError(
            f"`{place}` is there, and is not a virtual environment or holds more than one",
            hint="name another directory with `--into DIR`: repro never removes what is no environment",
        )
    if standing is Standing.FOREIGN and not force:
        raise RestoreError(
            f"`{place}` is a virtual environment that repro did not make",
            hint="replace it with `--force`, or name another directory with `--into DIR`",
        )
    mark = find_mark(place)
    if mark is None:
        return True
    changes = find_changes(place)
    if (changes.changed or changes.extra) and not force:
        _refuse_changes(place, changes)
    return bool(changes) or (mark.key, mark.path) != (order.key, place)


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def locate_place(into: str | os.PathLike[str], *, store: Store, project: str | os.PathLike[str]) -> str:
    """Return the absolute path, links resolved, at which an environment is to be made for a project's directory.

    Raises UsageError for a place where none can be, or where making one would endanger other things.
    """
    place = os.path.realpath(os.path.expanduser(into))
    cache = os.path.realpath(store.root)
    try:
        place.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {place!r} is no valid UTF-8", hint="name another with `--into DIR`") from error
    if os.pathsep in place or "\n" in place:
        raise UsageError(f"`{place}` has a `:` or a line break in its path", hint="name another with `--into DIR`")
    if _is_within(place, cache) or _is_within(cache, place):
        raise UsageError(
            f"`{place}` is in the cache `{cache}`, or around it",
            hint="name a directory elsewhere with `--into DIR`; what `--link` made is only a link: remove that first",
        )
    for inside in (os.path.realpath(project), os.path.realpath(os.getcwd())):
        if _is_within(inside, place):
            raise UsageError(f"`{place}` is the project's directory, or around it", hint="--into .venv")
    return place


class _Copier:
    """Copy files as clones where the file system has them, which is found out once, else byte by byte."""

    def __init__(self) -> None:
        self._clones = True

    def _clone(self, source: FileIO, target: FileIO) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
            except OSError:
                self._clones = False
        return self._clones

    def copy(self, source: str, target: str, *, mtime_ns: int | None = None) -> None:
        """Copy a file with its mtime, which bytecode is held against, writable. Raises OSError."""
        with FileIO(source) as old:
            found = os.fstat(old.fileno())
            mode = 0o777 if found.st_mode & 0o100 else 0o666
            with FileIO(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as new:
                if not self._clone(old, new):
                    shutil.copyfileobj(old, new, BLOCK_BYTES)
                time_ns = found.st_mtime_ns if mtime_ns is None else mtime_ns
                os.utime(new.fileno(), ns=(time_ns, time_ns))


def _write(path: str, content: bytes, *, is_program: bool = False) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if is_program else 0o666), "wb") as file:
        file.write(content)


def _fill(blueprint: Blueprint, env_dir: str, copier: _Copier) -> None:
    """Make the files of a blueprint in an environment that has no distribution yet. Raises RestoreError and OSError."""
    for directory in blueprint.directories:
        os.makedirs(f"{env_dir}/{directory}", exist_ok=True)
    try:
        for link in blueprint.links:
            source, mtime_ns = f"{link.tree.path}/{link.file.path}", link.file.mtime_ns
            copier.copy(source, f"{env_dir}/{link.path}", mtime_ns=mtime_ns)
        for own in blueprint.own:
            _write(f"{env_dir}/{own.path}", own.content, is_program=bool(own.mode & 0o100))
    except FileExistsError as error:
        raise RestoreError(f"a distribution has a file that the environment itself has: `{error.filename}`") from error


def _list_bytecode(blueprint: Blueprint, interpreter: Interpreter) -> Iterator[tuple[str, str]]:
    """Yield the bytecode that the store has of a blueprint's modules for an interpreter, and its path (PEP 3147)."""
    modules = {link.path for link in blueprint.links}
    digits = interpreter.minor.replace(".", "")
    tags = (f"{interpreter.implementation}-{digits}", f"{interpreter.implementation}{digits}")  # CPython's, PyPy's
    for cache in blueprint.caches:
        with suppress(FileNotFoundError), os.scandir(cache.target) as entries:
            for entry in entries:
                module, _, rest = entry.name.partition(".")
                is_ours = rest.split(".")[0] in tags and entry.name.endswith(".pyc")
                if is_ours and f"{os.path.dirname(cache.path)}/{module}.py" in modules:
                    yield entry.path, f"{cache.path}/{entry.name}"


def _copy_bytecode(blueprint: Blueprint, env_dir: str, interpreter: Interpreter, copier: _Copier) -> None:
    for source, path in _list_bytecode(blueprint, interpreter):
        os.makedirs(os.path.dirname(f"{env_dir}/{path}"), exist_ok=True)
        copier.copy(source, f"{env_dir}/{path}")


def _finish(order: Order, blueprint: Blueprint, env_dir: str, place: str) -> None:
    """Fill an empty environment that will lie at `place`, and mark it, last. Raises RestoreError and OSError."""
    copier = _Copier()
    if not os.path.lexists(f"{env_dir}/.gitignore"):
        _write(f"{env_dir}/.gitignore", b"*\n")
    base = [path for path in find_extra(env_dir, ()) if path != _UNFINISHED]
    _fill(blueprint, env_dir, copier)
    os.unlink(f"{env_dir}/{_UNFINISHED}")
    entries = [each for each in list_entries(replace(blueprint, caches=()), env_dir, base) if _is_users(each.path)]
    write_atomically(f"{env_dir}/{MANIFEST}", format_manifest(entries), durable=False)
    _copy_bytecode(blueprint, env_dir, order.candidate.interpreter, copier)
    mark = Mark(key=order.key, digest=order.snapshot.compute_digest(), path=place)
    write_atomically(f"{env_dir}/{FILE_NAME}", format_mark(mark))


def _name_stage(place: str) -> str:
    """Return what the names of the directories begin with that environments for a place are made in, beside it."""
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    return f"{os.path.dirname(place).rstrip('/')}/.repro-{digest}-"


def _set_aside(place: str, stage: str) -> None:
    if os.path.lexists(place):
        os.rename(place, f"{stage}/old")


def _put_back(place: str, stage: str) -> None:
    """Put what was set aside back, unless something is at its place again."""
    if os.path.lexists(f"{stage}/old") and not os.path.lexists(place):
        os.rename(f"{stage}/old", place)


def _settle(place: str, stage: str) -> None:
    _put_back(place, stage)
    remove_tree(stage)


@contextmanager
def _open_stage(place: str) -> Iterator[str]:
    """Have a directory beside a place for the block; what was set aside in it and not replaced is put back."""
    stage = f"{_name_stage(place)}{new_nonce()}"
    try:
        os.mkdir(stage, 0o700)
        yield stage
    finally:
        try:
            _settle(place, stage)
        except (KeyboardInterrupt, Terminated):  # what was interrupted is clearing up
            _settle(place, stage)
            raise


def _settle_leftovers(place: str) -> None:
    """Bring a place back to what it was before a process was killed; the caller holds the place's lock."""
    if os.path.lexists(f"{place}/{_UNFINISHED}") and set(os.listdir(place)) <= _USUAL:
        remove_tree(place)
    start = os.path.basename(_name_stage(place))
    with os.scandir(os.path.dirname(place)) as entries:
        stages = [each.path for each in entries if each.name.startswith(start) and each.is_dir(follow_symlinks=False)]
    for stage in stages:
        _settle(place, stage)


def _make_base(machine: Machine, order: Order, place: str, stage: str) -> None:
    """Have an empty environment made at its place, whose path goes into its scripts, and take it to the stage."""
    _set_aside(place, stage)
    try:
        os.mkdir(place)
        _write(f"{place}/{_UNFINISHED}", b"")
        creator = choose_creator(machine, order.engine)
        creator.create(
            place, python=order.candidate.path, env=settings.make_installer_environment(machine.environ), stays=True
        )
        os.rename(place, f"{stage}/env")
    except BaseException:
        remove_tree(place)
        raise
    finally:
        _put_back(place, stage)


def _make(machine: Machine, order: Order, place: str) -> tuple[str, ...]:
    """Make a private environment at a place, whatever is there, and return notes on its distributions."""
    blueprint = plan_order(machine, order, place)
    machine.report(f"copying {len(order.wanted)} distributions")
    with _open_stage(place) as stage:
        _make_base(machine, order, place, stage)
        _finish(order, blueprint, f"{stage}/env", place)
        _set_aside(place, stage)
        os.rename(f"{stage}/env", place)
    return blueprint.notes


@contextmanager
def _have_parents(place: str) -> Iterator[None]:
    """Have the directories above a place for the block; those made for it go again where it fails."""
    missing = []
    parent = os.path.dirname(place)
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in missing:
                os.rmdir(each)
        raise


def _find_or_make(machine: Machine, order: Order, place: str, *, force: bool) -> tuple[bool, tuple[str, ...]]:
    """Tell whether the environment was there, and notes on it; of two restores into one place one waits."""
    machine.store.prepare()
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    wait = lambda: machine.report(f"waiting: another process is restoring into {place}")  # noqa: E731
    try:
        lock = machine.store.room("flocks", f"into-{name}.lock")
        with machine.hold_store(), hold_lock(lock, wait), _have_parents(place):
            _settle_leftovers(place)
            if not _decide(place, order, force=force):
                return True, ()
            return False, _make(machine, order, place)
    except OSError as error:
        raise RestoreError(
            f"the environment cannot be made at `{place}` ({error})", hint="name another with `--into DIR`"
        ) from error


def restore_into(
    machine: Machine, request: Request, into: str | os.PathLike[str], *, force: bool = False
) -> Environment:
    """Return a private environment equal to a lock at the directory `into`, made where it is not there yet.

    What the user has changed in it, and an environment that repro did not make, is replaced only by `force`; what is no
    environment never. Raises what `restore_environment` raises, and UsageError for a place that cannot be used.
    """
    started = time.perf_counter()
    place = locate_place(into, store=machine.store, project=locate_lock(request.lock).parent)
    order, notes = plan_request(machine, request)
    reused, more = _find_or_make(machine, order, place, force=force)
    return Environment(
        path=place,
        key=order.key,
        digest=order.snapshot.compute_digest(),
        python_version=order.candidate.interpreter.version,
        reused=reused,
        seconds=time.perf_counter() - started,
        notes=(*notes, *more),
    )
