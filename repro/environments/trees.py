"""Trees: wheels that were verified and unpacked once, and are linked into every environment that holds them.

    trees/<sha256 of the wheel>/
        tree             written before the directory appears: what is in it (see `format_tree`)
        RECORD           the wheel's own
        site/            what goes into site-packages (the wheel's root, `purelib` and `platlib`)
        scripts/  data/  headers/     what goes beside it
        pyc/             bytecode of site/, written by Python itself: each package directory's `__pycache__` leads here

Files are read-only. A directory appears whole, by one rename (PyPA "Binary distribution format").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from repro.environments.ready import END, is_complete
from repro.errors import RestoreError
from repro.files import (
    BLOCK_BYTES,
    SETTLED,
    find_boot,
    hold_lock,
    is_settled,
    make_directory,
    open_directory,
    sha256_file,
    write_atomically,
)
from repro.formats.lockfile import canonicalize_name, is_name, is_version
from repro.formats.record import digest_wheel_record
from repro.values import frozen, replace

if TYPE_CHECKING:
    from installer.records import RecordEntry
    from installer.utils import Scheme

_MARKER = "tree"
_TITLE = "repro-tree 2"
USES = "repro-trees"
_USES_TITLE = "repro-trees 1"
_ROOMS = {"purelib": "site", "platlib": "site", "scripts": "scripts", "data": "data", "headers": "headers"}


class TreeFile:
    """A file of a tree: its path below the tree, size in bytes, mtime in ns, sha256 (64 hex digits).

    A plain class, for a restore makes one for each file: a frozen dataclass takes three times as long.
    """

    __slots__ = ("mtime_ns", "path", "sha256", "size_bytes")

    def __init__(self, path: str, size_bytes: int, mtime_ns: int, sha256: str) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.mtime_ns = mtime_ns
        self.sha256 = sha256


@frozen
class EntryPoint:
    """A script that is made of an entry point: its name, the module and what to call in it, `console` or `gui`."""

    name: str
    module: str
    attribute: str
    section: str


@frozen
class Tree:
    """An unpacked wheel at `path`: `info_dir` is its `.dist-info` directory, `record` its record digest.

    `name` is canonical, `version` as METADATA has it; `boot` is when it was unpacked (see `files.find_boot`).
    """

    path: Path
    sha256: str
    name: str
    version: str
    info_dir: str
    record: str
    boot: str
    files: tuple[TreeFile, ...]
    entry_points: tuple[EntryPoint, ...]

    def is_untouched(self) -> bool:
        """Tell whether every file has the size and mtime it was unpacked with: an edited link is an edited tree."""
        try:
            with open_directory(self.path) as tree:
                for each in self.files:
                    found = os.stat(each.path, dir_fd=tree, follow_symlinks=False)
                    if found.st_mtime_ns != each.mtime_ns or found.st_size != each.size_bytes:
                        return False
        except OSError:
            return False
        return True

    def is_whole(self) -> bool:
        """Tell whether every file has the content it was unpacked with."""
        try:
            if digest_wheel_record(self.read_record()) != self.record:
                return False
            return all(sha256_file(self.path / each.path) == each.sha256 for each in self.files)
        except (OSError, UnicodeDecodeError):
            return False

    def read_record(self) -> str:
        """Return the wheel's own RECORD."""
        return (self.path / "RECORD").read_text(encoding="utf-8")


def format_tree(tree: Tree) -> str:
    """Return the marker's text: a line for each fact, file and entry point."""
    lines = [
        _TITLE,
        f"info {tree.info_dir}",
        f"record {tree.record}",
        f"is {tree.name} {tree.version}",
        f"boot {tree.boot}",
    ]
    lines += [f"file {each.size_bytes} {each.mtime_ns} {each.sha256} {each.path}" for each in tree.files]
    lines += [f"script {each.section} {each.module} {each.attribute} {each.name}" for each in tree.entry_points]
    return "\n".join(lines) + END


def parse_tree(text: str, *, path: Path) -> Tree:
    """Return the tree at `path` that a marker describes. Raises ValueError where it is none, or cut off."""
    if not is_complete(text):
        raise ValueError("the marker is cut off")
    title, info, record, named, boot, *lines = text[: -len(END)].split("\n")
    if title != _TITLE:
        raise ValueError(f"the marker begins with {title!r}")
    _, name, version = named.split(" ")
    files, entry_points = [], []
    for line in lines:
        kind, first, second, third, rest = line.split(" ", 4)
        if kind == "file":
            files.append(TreeFile(rest, int(first), int(second), third))
        elif kind == "script":
            entry_points.append(EntryPoint(name=rest, section=first, module=second, attribute=third))
        else:
            raise ValueError(f"the marker has a line {line!r}")
    return Tree(
        path=path,
        sha256=path.name,
        name=name,
        version=version,
        info_dir=info.removeprefix("info "),
        record=record.removeprefix("record "),
        boot=boot.removeprefix("boot "),
        files=tuple(files),
        entry_points=tuple(entry_points),
    )


def write_uses(env_dir: str, trees: Iterable[Tree]) -> None:
    """Note in an environment which trees it is made of, so that they stay as long as it does. Raises OSError."""
    lines = sorted(f"tree {each.sha256} {each.name} {each.version}\n" for each in trees)
    write_atomically(os.path.join(env_dir, USES), f"{_USES_TITLE}\n{''.join(lines)}", durable=False)


def read_uses(env_dir: str) -> tuple[str, ...] | None:
    """Return the sha256s of the trees that an environment is made of, None where it does not say so."""
    try:
        with open(os.path.join(env_dir, USES), encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    title, *lines = text.split("\n")
    if title != _USES_TITLE or not text.endswith("\n"):
        return None
    return tuple(line.split(" ")[1] for line in lines if line.startswith("tree "))


def _check_member(path: str, wheel: str) -> None:
    if path.startswith("/") or ".." in path.split("/") or "\n" in path or "\0" in path:
        raise RestoreError(f"the wheel `{wheel}` names a file outside itself: {path!r}")


class _Destination:
    """Where `installer` writes a wheel to: a directory for each kind of file. See installer.destinations."""

    def __init__(self, root: Path, wheel: str) -> None:
        self._root = root
        self._wheel = wheel
        self._made: set[str] = set()
        self.files: dict[str, TreeFile] = {}
        self.entry_points: list[EntryPoint] = []

    def write_script(self, name: str, module: str, attr: str, section: str) -> RecordEntry:
        """Note a script that is made of an entry point: where it will lie is not known yet."""
        from installer.records import RecordEntry

        _check_member(name, self._wheel)
        self.entry_points.append(EntryPoint(name=name, module=module, attribute=attr, section=section))
        return RecordEntry(name, None, None)

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """Write a file and note it."""
        from installer.records import Hash, RecordEntry

        name = os.fspath(path)
        _check_member(name, self._wheel)
        place = f"{_ROOMS[scheme]}/{name}"
        size, sha256 = self._write(place, stream, 0o555 if is_executable or scheme == "scripts" else 0o444)
        return RecordEntry(name, Hash("sha256", sha256), size)

    def _write(self, place: str, stream: BinaryIO, mode: int) -> tuple[int, str]:
        target = f"{self._root}/{place}"
        directory = os.path.dirname(target)
        if directory not in self._made:
            make_directory(directory)
            self._made.add(directory)
        import hashlib

        digest = hashlib.sha256()
        with open(target, "xb", buffering=0) as file:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
                while block:
                    block = block[file.write(block) :]
            os.fchmod(file.fileno(), mode)
            found = os.fstat(file.fileno())
        sha256 = digest.hexdigest()
        self.files[place] = TreeFile(place, found.st_size, found.st_mtime_ns, sha256)
        return found.st_size, sha256

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """Take the RECORD as the wheel has it; an environment's own is made when it is assembled."""
        for _ in records:
            pass


def _read_identity(metadata: str) -> tuple[str, str]:
    """Return canonical name and version. Raises ValueError where METADATA has none."""
    headers = metadata.replace("\r\n", "\n").partition("\n\n")[0].splitlines()
    found = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in reversed(headers)}
    if not is_version(found.get("version", "")) or not is_name(found.get("name", "")):
        raise ValueError("its METADATA has no name and version")
    return canonicalize_name(found["name"]), found["version"]


def _make_caches(target: Path, home: Path, directories: Iterable[str]) -> None:
    """Make the place of each directory's bytecode, and the `__pycache__` that leads there from its final `home`.

    These are made once: an environment gets a hard link to the link, which costs a fraction of a new one.
    """
    for directory in directories:
        below = directory.removeprefix("site")
        make_directory(f"{target}/pyc{below}")
        if below:
            os.symlink(f"{home}/pyc{below}", f"{target}/{directory}/__pycache__")
    if (target / "pyc").is_dir():
        (target / "pyc").chmod(0o700)  # what Python makes in it has the mode that a user's umask allows


def _unpack(wheel: Path, target: Path, home: Path) -> Tree:
    """Unpack a wheel into a new directory and return what it holds; its marker is written last."""
    import zipfile

    import installer
    from installer.exceptions import InstallerError

    from repro.environments.wheel_zip import Wheel, WheelZip

    destination = _Destination(target, wheel.name)
    try:
        with WheelZip(wheel) as content:
            source = Wheel(content)
            record = source.read_dist_info("RECORD")
            name, version = _read_identity(source.read_dist_info("METADATA"))
            installer.install(source, destination, additional_metadata={})  # type: ignore[arg-type]
            info_dir = source.dist_info_dir
    except (InstallerError, zipfile.BadZipFile, ValueError, KeyError, AssertionError, UnicodeDecodeError) as error:
        raise RestoreError(f"`{wheel.name}` is no wheel that can be installed ({error})") from error
    except FileExistsError as error:
        raise RestoreError(f"the wheel `{wheel.name}` names a file twice: {error.filename}") from error
    _write_fact(target / "RECORD", record)
    packages = {
        os.path.dirname(path) for path in destination.files if path.endswith(".py") and path.startswith("site/")
    }
    _make_caches(target, home, sorted(packages))
    tree = Tree(
        path=target,
        sha256=target.name,
        name=name,
        version=version,
        info_dir=info_dir,
        record=digest_wheel_record(record),
        boot=find_boot(),
        files=tuple(destination.files[path] for path in sorted(destination.files)),
        entry_points=tuple(sorted(destination.entry_points, key=lambda each: each.name)),
    )
    _write_fact(target / _MARKER, format_tree(tree))
    return tree


def _write_fact(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o444)


@frozen
class Trees:
    """The trees below `root`; `stage` gives a directory to unpack in, one process at a time (`flocks_dir`)."""

    root: Path
    stage: Callable[[], AbstractContextManager[str]]
    flocks_dir: Path

    def has(self, sha256: str) -> bool:
        """Tell whether there is a tree of a wheel, whole or not."""
        return (self.root / sha256).is_dir()

    def find(self, sha256: str) -> Tree | None:
        """Return the tree of a wheel, None where it is not unpacked."""
        path = self.root / sha256
        try:
            return parse_tree((path / _MARKER).read_text(encoding="utf-8"), path=path)
        except (OSError, ValueError):
            return None

    def unpack(self, sha256: str, wheel: Path) -> Tree:
        """Return the tree of a wheel whose sha256 was checked, unpacking it where that was not done before.

        Raises RestoreError where it is no wheel, and OSError.
        """
        if tree := self.find(sha256):
            return tree
        with self._hold(sha256):
            if tree := self.find(sha256):
                return tree
            with self.stage() as directory:
                staged = Path(directory, sha256)
                make_directory(staged)
                _unpack(wheel, staged, self.root / sha256)
                self._discard(sha256, directory)  # a tree whose marker is damaged
                make_directory(self.root)
                os.rename(staged, self.root / sha256)
        found = self.find(sha256)
        if found is None:
            raise RestoreError(f"the tree of `{wheel.name}` was changed while it was made")
        return found

    def _discard(self, sha256: str, directory: str) -> None:
        """Move a tree, which goes as a whole, into a staging directory, which is removed."""
        with suppress(FileNotFoundError):
            os.rename(self.root / sha256, Path(directory, "discarded"))

    def is_sound(self, tree: Tree) -> bool:
        """Tell whether a tree is as it was unpacked; the content of one of an earlier boot is read, once.

        Its files are not synced, and after a power cut some may have their size and mtime, and zeros in them.
        """
        if not tree.is_untouched():
            return False
        if is_settled(tree.boot):
            return True
        if not tree.is_whole():
            return False
        with suppress(OSError):
            write_atomically(tree.path / _MARKER, format_tree(replace(tree, boot=SETTLED)), keep_mode=0o444)
        return True

    def discard(self, sha256: str) -> None:
        """Remove a tree with damaged files: the next use unpacks its wheel again. Environments keep their own links."""
        with self._hold(sha256), self.stage() as directory:
            self._discard(sha256, directory)

    def _hold(self, sha256: str) -> AbstractContextManager[None]:
        return hold_lock(self.flocks_dir / f"tree-{sha256[:16]}.lock")
