"""Fetch the wheels of a lock into the store: what is there already, else from an index by sha256, else built by pip.

A file is taken by its sha256 alone; where several of the lock fit this interpreter, the one that was installed when the
lock was taken, else the best by tags. What has only an sdist, or an index lets only an installer in for, pip builds or
fetches; which wheel was built of which sdist is remembered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from repro.environments.trees import Tree, Trees
from repro.errors import ReproError, RestoreError
from repro.files import BLOCK_BYTES, make_directory, write_atomically
from repro.formats.direct_url import Archive, Vcs, clean_url
from repro.formats.lockfile import Distribution, Interpreter, format_requirement
from repro.snapshots.pins import FetchError, IndexUnreachableError, Pin
from repro.snapshots.wheelhouse import Wheelhouse
from repro.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.formats.simple_index import IndexFile
    from repro.formats.target import Target
    from repro.snapshots.index_client import IndexClient
    from repro.snapshots.indexes import Indexes


class Builder(Protocol):
    """What makes wheels of requirements that no ready wheel is had for."""

    def build(self, requirements: Sequence[str], *, hashed: bool, directory: str) -> None:
        """Put a wheel of each requirement into `directory`. Raises RestoreError."""


@frozen
class Source:
    """Where files come from for one restore; where all are here, neither the indexes nor the builder are asked for."""

    wheelhouse: Wheelhouse
    trees: Trees
    built_dir: Path
    fetched_dir: Path
    find_indexes: Callable[[], Indexes]
    environ: Mapping[str, str]
    make_builder: Callable[[], Builder]
    interpreter: Interpreter
    locked: Interpreter | None
    offline: bool
    report: Callable[[str], None]
    stage: Callable[[], AbstractContextManager[str]]


def _remember_built(source: Source, distribution: Distribution, sha256: str) -> None:
    path = _built_path(source, distribution)
    make_directory(path.parent)
    write_atomically(path, sha256, durable=False)


def _built_path(source: Source, distribution: Distribution) -> Path:
    """Return where the wheel built for an entry and this Python is noted."""
    python = source.interpreter
    facts = [*sorted(distribution.hashes), format_requirement(distribution), python.abi, python.platform]
    if isinstance(distribution.source, Vcs):
        facts.append(distribution.source.format_url() or "")
    return source.built_dir / hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _find_built(source: Source, distribution: Distribution) -> str | None:
    try:
        return _built_path(source, distribution).read_text()
    except OSError:
        return None


@lru_cache(maxsize=4)
def _get_target(python: Interpreter) -> Target:
    from repro.formats.target import make_target

    return make_target(python)


def _is_installed_here(source: Source, distribution: Distribution, sha256: str) -> bool:
    """Tell whether it is the very file that was installed, on a Python like this: then its tags need no look."""
    locked, here = source.locked, source.interpreter
    is_alike = locked and (locked.compatibility, locked.platform) == (here.compatibility, here.platform)
    return bool(is_alike and distribution.file and distribution.hashes[:1] == (f"sha256:{sha256}",))


def find_here(source: Source, distribution: Distribution) -> Tree | None:
    """Return the tree of an entry where the store has it, or its wheel, already. Raises RestoreError."""
    stated = [hash_.removeprefix("sha256:") for hash_ in distribution.hashes]
    if built := _find_built(source, distribution):
        stated.append(built)
    for sha256 in stated:
        wheel = source.wheelhouse.find(sha256)
        tree = source.trees.find(sha256) if wheel or source.trees.has(sha256) else None
        if wheel is None and tree is None:
            continue
        fits = _is_installed_here(source, distribution, sha256) or wheel is None
        if not fits and not _get_target(source.interpreter).accepts(wheel.name if wheel else ""):
            continue
        if tree and source.trees.is_sound(tree):
            return tree
        if tree:
            source.trees.discard(sha256)
        if wheel and source.wheelhouse.is_sound(sha256):
            return source.trees.unpack(sha256, wheel)
        if wheel:
            source.report(f"removing {wheel.name} from the store: it was changed there")
            source.wheelhouse.discard(sha256)
    return None


def choose_file(distribution: Distribution, files: Sequence[IndexFile], target: Target) -> IndexFile | None:
    """Return the wheel to fetch: the one that was installed where it fits, else of those allowed the best by tags."""
    ranked = ((target.find_rank(each.filename), each) for each in files if each.is_wheel)
    fitting = [(rank, each.filename, each) for rank, each in ranked if rank is not None]
    if distribution.hashes:
        fitting = [each for each in fitting if not each[2].sha256 or f"sha256:{each[2].sha256}" in distribution.hashes]
        for _, filename, file in fitting:
            if f"sha256:{file.sha256}" == distribution.hashes[0] or filename == distribution.file:
                return file
    return min(fitting, key=lambda each: each[:2])[2] if fitting else None


def _note_fetched(source: Source, sha256: str, file: IndexFile) -> None:
    """Note where a wheel can be fetched again; one from a place on this machine is kept like those no index has."""
    if file.url.startswith(("http://", "https://")):
        make_directory(source.fetched_dir)
        write_atomically(source.fetched_dir / sha256, f"{clean_url(file.url)}\n", durable=False)


def _download(source: Source, client: IndexClient, file: IndexFile, distribution: Distribution) -> Tree:
    """Fetch one wheel, check its sha256 while it comes in, keep and unpack it."""
    source.report(f"fetching {file.filename}")
    with source.stage() as directory:
        path = Path(directory, "wheel", os.path.basename(file.filename))
        make_directory(path.parent)
        digest = hashlib.sha256()
        with client.open_whole(file) as stream, path.open("wb") as target:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
                target.write(block)
        sha256 = digest.hexdigest()
        if file.sha256 and sha256 != file.sha256:
            raise RestoreError(
                f"`{file.filename}` of the index has another sha256 than it says",
                hint="do not install it; try again, or ask who runs the index",
                details=(f"stated {file.sha256}", f"fetched {sha256}"),
            )
        if distribution.hashes and f"sha256:{sha256}" not in distribution.hashes:
            raise RestoreError(
                f"`{file.filename}` of the index has another sha256 than the lock",
                hint="do not install it; if you trust the index, take the lock again with `repro snapshot --refresh`",
                details=(f"locked {', '.join(distribution.hashes)}", f"fetched sha256:{sha256}"),
            )
        source.wheelhouse.adopt(path, sha256)
        _note_fetched(source, sha256, file)
        return source.trees.unpack(sha256, source.wheelhouse.find(sha256) or path)


def _list_candidates(client: IndexClient, wanted: Sequence[Distribution]) -> Mapping[str, Sequence[IndexFile]]:
    """Return the files an index, or an entry's own URL, has of each entry."""
    archives = {
        each.name: (_make_archive(each.source, each),)
        for each in wanted
        if isinstance(each.source, Archive) and not each.kept
    }
    pins = [Pin(name=each.name, version=each.version) for each in wanted if each.name not in archives]
    return {**client.list_files(pins).files, **archives}


def _make_archive(archive: Archive, distribution: Distribution) -> IndexFile:
    from repro.formats.simple_index import IndexFile

    sha256 = next((hash_.removeprefix("sha256:") for hash_ in distribution.hashes), archive.sha256)
    return IndexFile(filename=archive.url.rpartition("/")[2], url=archive.url, sha256=sha256)


def _fetch(source: Source, wanted: Sequence[Distribution]) -> dict[str, Tree]:
    """Fetch what indexes have as wheels; what they have not, or let nobody in for, is left out."""
    from repro.snapshots.index_client import IndexClient

    with IndexClient(source.find_indexes(), environ=source.environ) as client:
        try:
            files = _list_candidates(client, wanted)
        except FetchError as error:
            source.report(f"{error.message}: pip is asked instead")
            return {}
        chosen = {each.name: choose_file(each, files[each.name], _get_target(source.interpreter)) for each in wanted}
        names = [name for name, file in chosen.items() if file]
        by_name = {each.name: each for each in wanted}

        def fetch_one(name: str) -> Tree | None:
            file = chosen[name]
            try:
                return _download(source, client, file, by_name[name]) if file else None
            except FetchError as error:
                source.report(f"{error.message}: pip is asked instead")
                return None

        trees = dict(zip(names, client.map(fetch_one, names), strict=True))
    return {name: tree for name, tree in trees.items() if tree}


def _build(source: Source, wanted: Sequence[Distribution]) -> dict[str, Tree]:
    """Let pip or uv fetch or build the wheels of what nothing else has, and remember which they are."""
    trees = {}
    for each in wanted:
        source.report(f"building {each.name} {each.version}")
        requirement = format_requirement(each)
        if isinstance(each.source, Vcs):
            requirement = f"{each.name} @ {each.source.format_url()}"
        with source.stage() as directory:
            hashed = bool(each.hashes) and not isinstance(each.source, Vcs)
            source.make_builder().build([requirement], hashed=hashed, directory=directory)
            wheels = sorted(Path(directory).glob("*.whl"))
            if len(wheels) != 1:
                raise RestoreError(f"{len(wheels)} wheels were built of `{each.name}`, not one")
            sha256 = source.wheelhouse.keep(wheels[0])
        trees[each.name] = source.trees.unpack(sha256, source.wheelhouse.check(sha256))
        _remember_built(source, each, sha256)
    return trees


def fetch_trees(source: Source, wanted: Sequence[Distribution]) -> dict[str, Tree]:
    """Return the tree of each entry, by name.

    Raises RestoreError that names what cannot be had, offline everything that is not here.
    """
    here = {each.name: find_here(source, each) for each in wanted}
    trees = {name: tree for name, tree in here.items() if tree}
    missing = [each for each in wanted if each.name not in trees]
    if missing and source.offline:
        raise RestoreError(
            "offline, and not every file of the lock is in the cache",
            hint="restore once without `--offline`",
            details=tuple(f"{each.name}=={each.version}" for each in missing),
        )
    commits = [each for each in missing if isinstance(each.source, Vcs) and not each.kept]
    files = [each for each in missing if each not in commits]
    try:
        trees |= _fetch(source, files) if files else {}
        trees |= _build(source, [each for each in missing if each.name not in trees])
    except IndexUnreachableError as error:
        raise RestoreError(
            "the package index cannot be reached, and not every file of the lock is in the cache",
            hint="check the network, then restore again",
            details=(error.message, *(f"{each.name}=={each.version}" for each in files)),
        ) from error
    except ReproError as error:
        raise error if isinstance(error, RestoreError) else RestoreError(error.message, hint=error.hint) from error
    return trees
