"""Assemble an environment from trees: link their files into an empty one, and write what is the environment's own.

Files are hard links to the trees' read-only files, or copies where the file system allows no more links. A package
directory's `__pycache__` is a link to the tree's `pyc/`, which belongs to the store: what Python compiles there is
there for every environment with that wheel, no wheel is compiled twice, and nothing is written into the environment.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import os
import shlex
import shutil
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter

from repro.environments.manifest import Entry, describe_file
from repro.environments.trees import EntryPoint, Tree, TreeFile
from repro.errors import RestoreError
from repro.files import make_directory, new_nonce, open_directory, remove_tree
from repro.formats.record import read_rows
from repro.values import frozen

_INSTALLER = b"repro\n"
_SCRIPT = """\
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit({attribute}())
"""
"""What `installer` writes below the first line, which takes longer to import than to link a hundred files."""


@frozen
class OwnFile:
    """A file that belongs to one environment alone: its path there, content and mode."""

    path: str
    content: bytes
    mode: int = 0o444


class Link:
    """A file of a tree and its path in the environment; a plain class for the same reason as TreeFile."""

    __slots__ = ("file", "path", "tree")

    def __init__(self, path: str, tree: Tree, file: TreeFile) -> None:
        self.path = path
        self.tree = tree
        self.file = file


@frozen
class Cache:
    """A `__pycache__` link, where it leads, and the same link in a tree where there is one to be linked."""

    path: str
    target: str
    source: str | None


@frozen
class Blueprint:
    """What an environment is made of; paths are relative to it.

    `caches` are its `__pycache__` links and where each leads, in trees or below `shared_dir`; `notes` say what two
    distributions both have.
    """

    links: tuple[Link, ...]
    own: tuple[OwnFile, ...]
    caches: tuple[Cache, ...]
    directories: tuple[str, ...]
    shared_dir: str
    notes: tuple[str, ...]


def make_shebang(python: str) -> bytes:
    """Return the first line of a script for an interpreter; what the kernel cannot take (127 bytes) goes through sh."""
    line = f"#!{python}\n".encode()
    if b" " not in line and len(line) <= 127:
        return line
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''\n".encode()


def _make_script(entry_point: EntryPoint, python: str) -> bytes:
    module, attribute = entry_point.module, entry_point.attribute
    code = _SCRIPT.format(module=module, name=attribute.partition(".")[0], attribute=attribute)
    return make_shebang(python) + code.encode()


def _place(tree: Tree, path: str, site: str, minor: str) -> str:
    """Return where the file at a path of a tree goes."""
    room, _, rest = path.partition("/")
    if room == "site":
        return f"{site}/{rest}"
    if room == "scripts":
        return f"bin/{rest}"
    if room == "headers":
        return f"include/site/python{minor}/{tree.info_dir.partition('-')[0]}/{rest}"
    return rest


def _read_script(tree: Tree, file: TreeFile, python: str) -> bytes | None:
    """Return the content of a script whose first line names Python, None for any other (PEP 427)."""
    content = (tree.path / file.path).read_bytes()
    first, _, rest = content.partition(b"\n")
    return make_shebang(python) + rest if first.startswith((b"#!python", b"#!pythonw")) else None


def _seen_from(site: str, path: str) -> str:
    """Return a path of an environment as a RECORD has it: relative to the site directory."""
    below = path.removeprefix(f"{site}/")
    return below if below != path else "../" * (site.count("/") + 1) + path


def _format_row(site: str, own: OwnFile) -> tuple[str, str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(own.content).digest()).decode().rstrip("=")
    return _seen_from(site, own.path), f"sha256={digest}", str(len(own.content))


def _list_rows(tree: Tree, own: Sequence[OwnFile], site: str, minor: str) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the installed RECORD: the wheel's own, where they are now, and what was made."""
    made = {each.path: _format_row(site, each) for each in own}
    prefix = tree.info_dir.removesuffix(".dist-info") + ".data/"
    for path, hash_, size in read_rows(tree.read_record()):
        room, _, rest = path.removeprefix(prefix).partition("/")
        if path == f"{tree.info_dir}/RECORD":
            continue
        if not path.startswith(prefix):
            yield path, hash_, size
        elif room in ("purelib", "platlib"):
            yield rest, hash_, size
        else:
            place = _place(tree, f"{room}/{rest}", site, minor)
            yield made.pop(place, (_seen_from(site, place), hash_, size))
    yield from made.values()
    yield f"{tree.info_dir}/RECORD", "", ""


def _format_record(tree: Tree, own: Sequence[OwnFile], site: str, minor: str) -> str:
    """Return the installed RECORD; rows of a wheel without a `.data` directory stand as they are, none is parsed."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    text = tree.read_record()
    if ".data/" in text or "\r" in text:
        writer.writerows(_list_rows(tree, own, site, minor))
        return table.getvalue()
    end = f"{tree.info_dir}/RECORD,"
    writer.writerows(_format_row(site, each) for each in own)
    kept = (line for line in text.split("\n") if line and not line.startswith(end))
    return "\n".join([*kept, table.getvalue() + f"{end},\n"])


def _make_own_files(tree: Tree, *, env_dir: str, site: str, minor: str, is_requested: bool) -> list[OwnFile]:
    """Return what a distribution has in this environment alone: its scripts, INSTALLER, REQUESTED and RECORD."""
    python = f"{env_dir}/bin/python"
    own = [
        OwnFile(path=_place(tree, file.path, site, minor), content=content, mode=0o555)
        for file in tree.files
        if file.path.startswith("scripts/") and (content := _read_script(tree, file, python)) is not None
    ]
    own += [
        OwnFile(path=f"bin/{each.name}", content=_make_script(each, python), mode=0o555) for each in tree.entry_points
    ]
    own.append(OwnFile(path=f"{site}/{tree.info_dir}/INSTALLER", content=_INSTALLER))
    if is_requested:
        own.append(OwnFile(path=f"{site}/{tree.info_dir}/REQUESTED", content=b""))
    own.append(OwnFile(path=f"{site}/{tree.info_dir}/RECORD", content=_format_record(tree, own, site, minor).encode()))
    return own


def _list_caches(links: Sequence[Link], site: str, shared_dir: str) -> tuple[Cache, ...]:
    """Return a `__pycache__` link for each directory with modules: to the tree they are of, if they are all of one.

    Those of several, a namespace package's and the site directory's own, lead below `shared_dir`.
    """
    owners: dict[str, dict[str, Tree]] = {}
    for link in links:
        if link.path.endswith(".py") and link.path.startswith(f"{site}/"):
            owners.setdefault(os.path.dirname(link.path), {})[link.tree.sha256] = link.tree
    caches = []
    for directory, trees in sorted(owners.items()):
        below = directory.removeprefix(site)
        (tree, *others) = trees.values()
        is_shared = bool(others) or directory == site
        path = f"{directory}/__pycache__"
        if is_shared:
            caches.append(Cache(path=path, target=f"{shared_dir}{below}", source=None))
        else:
            source = f"{tree.path}/site{below}/__pycache__"
            caches.append(Cache(path=path, target=f"{tree.path}/pyc{below}", source=source))
    return tuple(caches)


def _with_parents(directories: set[str]) -> tuple[str, ...]:
    """Return directories and those above them, each behind its parent."""
    found: set[str] = set()
    for each in directories:
        while each and each not in found:
            found.add(each)
            each = each.rpartition("/")[0]  # noqa: PLW2901
    return tuple(sorted(found))


def plan_environment(
    trees: Sequence[Tree], *, env_dir: str, minor: str, shared_dir: str, requested: Container[str] = ()
) -> Blueprint:
    """Return what the environment at `env_dir` is made of; `minor` is its Python's X.Y.

    `requested` are the distributions that somebody asked for by name (PEP 376's REQUESTED).

    Bytecode of directories that several trees have modules in lies in `shared_dir`.

    Where two distributions have a file of one name, the later by name wins, as it would for any installer, and that is
    noted unless the files are equal. Reads the trees' RECORDs and scripts.
    """
    site = f"lib/python{minor}/site-packages"
    links: dict[str, Link] = {}
    own: dict[str, OwnFile] = {}
    notes = []
    for tree in trees:
        made = _make_own_files(tree, env_dir=env_dir, site=site, minor=minor, is_requested=tree.name in requested)
        replaced = {each.path for each in made}
        for file in tree.files:
            path = _place(tree, file.path, site, minor)
            if path in replaced or path == f"{site}/{tree.info_dir}/RECORD" or "/__pycache__/" in path:
                continue
            earlier = links.get(path)
            if earlier and earlier.file.sha256 != file.sha256:
                notes.append(f"`{path}` is in {earlier.tree.info_dir} and in {tree.info_dir}; the latter's is used")
            links[path] = Link(path, tree, file)
        own |= {each.path: each for each in made}
    directories = {path.rpartition("/")[0] for path in (*links, *own)}
    return Blueprint(
        links=tuple(links.values()),
        own=tuple(own.values()),
        caches=_list_caches(tuple(links.values()), site, shared_dir),
        directories=_with_parents(directories),
        shared_dir=shared_dir,
        notes=tuple(notes),
    )


def _link_one(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
            raise
        shutil.copy2(source, target)


def _link_all(links: Sequence[Link], env_dir: str) -> None:
    """Link the files of each tree into an environment. Raises OSError, with whole paths."""
    with open_directory(env_dir) as target:
        for tree, group in groupby(links, key=attrgetter("tree")):
            with open_directory(tree.path) as source:
                for link in group:
                    try:
                        os.link(link.file.path, link.path, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
                    except OSError:
                        _link_one(f"{tree.path}/{link.file.path}", f"{env_dir}/{link.path}")


def _write_own(path: str, own: OwnFile) -> None:
    with open(path, "xb") as file:
        file.write(own.content)
        os.fchmod(file.fileno(), own.mode)


def perform(blueprint: Blueprint, env_dir: str) -> None:
    """Make what a blueprint says in an environment that has no distribution yet. Raises RestoreError and OSError."""
    for directory in blueprint.directories:
        make_directory(f"{env_dir}/{directory}")
    try:
        _link_all(blueprint.links, env_dir)
        for each in blueprint.own:
            _write_own(f"{env_dir}/{each.path}", each)
    except FileExistsError as error:
        place = error.filename2 or error.filename
        raise RestoreError(f"a distribution has a file that the environment itself has: `{place}`") from error
    make_directory(blueprint.shared_dir)
    os.chmod(blueprint.shared_dir, 0o700)  # what Python makes in it has the mode that a user's umask allows
    for cache in blueprint.caches:
        _make_cache(f"{env_dir}/{cache.path}", cache)


def _make_cache(place: str, cache: Cache) -> None:
    if cache.source:
        with suppress(OSError):  # too many links, or a tree whose own was removed
            os.link(cache.source, place, follow_symlinks=False)
            return
    make_directory(cache.target)
    os.symlink(cache.target, place)


def _replace(place: str, make: Callable[[str], None]) -> None:
    """Make a file beside its place and move it there in one step, whatever was there."""
    make_directory(os.path.dirname(place))
    os.chmod(os.path.dirname(place), 0o755)
    if os.path.isdir(place) and not os.path.islink(place):
        remove_tree(place)
    temporary = f"{os.path.dirname(place)}/.{new_nonce()}.tmp"
    try:
        make(temporary)
        os.replace(temporary, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def perform_part(blueprint: Blueprint, env_dir: str, paths: Container[str]) -> None:
    """Make these paths of an environment again as a blueprint says; running processes keep what they have open."""
    for link in blueprint.links:
        if link.path in paths:
            _replace(f"{env_dir}/{link.path}", partial(_link_one, f"{link.tree.path}/{link.file.path}"))
    for each in blueprint.own:
        if each.path in paths:
            _replace(f"{env_dir}/{each.path}", partial(_write_own, own=each))
    for cache in blueprint.caches:
        if cache.path in paths:
            _replace(f"{env_dir}/{cache.path}", partial(_make_cache, cache=cache))


def list_entries(blueprint: Blueprint, env_dir: str, base: Sequence[str]) -> list[Entry]:
    """Return the manifest of an environment that was just made: what is linked by what its tree says of it.

    `base` are the files it had before.
    """
    entries = [
        Entry(link.path, size_bytes=link.file.size_bytes, mtime_ns=link.file.mtime_ns, sha256=link.file.sha256)
        for link in blueprint.links
    ]
    for own in blueprint.own:
        found = os.lstat(f"{env_dir}/{own.path}")
        sha256 = hashlib.sha256(own.content).hexdigest()
        entries.append(Entry(own.path, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, sha256=sha256))
    entries += [Entry(cache.path, target=cache.target) for cache in blueprint.caches]
    return entries + [describe_file(env_dir, path) for path in base]
