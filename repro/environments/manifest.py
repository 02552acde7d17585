"""The manifest of an environment: every file with size, mtime and sha256, and what a comparison with it finds.

Plain lines, written before the environment is marked ready:

    repro-manifest 2
    file <size in bytes> <mtime in ns> <sha256> <path>
    link <target> <path>          a symbolic link; neither has a tab, which stands between them
    end

The fast comparison looks at sizes and mtimes of files and at links, the deep one at contents; both see what is missing.
What is there beyond the manifest a walk finds.
"""

from __future__ import annotations

import os

from repro.environments.ready import END, is_complete
from repro.files import open_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILE_NAME = "repro-manifest"
_TITLE = "repro-manifest 2"
_OURS = frozenset({FILE_NAME, "repro-environment", "repro-trees"})


class Entry:
    """A file (its sha256 has 64 hex digits) or a symbolic link (`target` is set) by its path in the environment."""

    __slots__ = ("mtime_ns", "path", "sha256", "size_bytes", "target")

    def __init__(
        self, path: str, *, size_bytes: int = 0, mtime_ns: int = 0, sha256: str = "", target: str | None = None
    ) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.mtime_ns = mtime_ns
        self.sha256 = sha256
        self.target = target


class Damage:
    """What is not as the manifest says: paths that are `changed`, `missing` or `extra`."""

    __slots__ = ("changed", "extra", "missing")

    def __init__(self, *, changed: Sequence[str] = (), missing: Sequence[str] = (), extra: Sequence[str] = ()) -> None:
        self.changed = tuple(changed)
        self.missing = tuple(missing)
        self.extra = tuple(extra)

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)

    def describe(self) -> tuple[str, ...]:
        """Return a line for each path."""
        kinds = (("changed", self.changed), ("missing", self.missing), ("extra", self.extra))
        return tuple(f"{kind}: {path}" for kind, paths in kinds for path in paths)


def format_manifest(entries: Iterable[Entry]) -> str:
    """Return a manifest's text, sorted by path."""
    lines = [_TITLE]
    for each in sorted(entries, key=lambda entry: entry.path):
        if each.target is None:
            lines.append(f"file {each.size_bytes} {each.mtime_ns} {each.sha256} {each.path}")
        else:
            lines.append(f"link {each.target}\t{each.path}")
    return "\n".join(lines) + END


def parse_manifest(text: str) -> list[Entry]:
    """Return the entries of a manifest's text. Raises ValueError where it is none, or cut off."""
    if not text.startswith(f"{_TITLE}\n") or not is_complete(text):
        raise ValueError("no manifest, or one that is cut off")
    entries = []
    for line in text[len(_TITLE) + 1 : -len(END)].split("\n"):
        if line.startswith("file "):
            _, size, mtime_ns, sha256, path = line.split(" ", 4)
            entries.append(Entry(path, size_bytes=int(size), mtime_ns=int(mtime_ns), sha256=sha256))
        elif line.startswith("link "):
            target, _, path = line[5:].partition("\t")
            entries.append(Entry(path, target=target))
        elif line:
            raise ValueError(f"the manifest has a line {line!r}")
    return entries


def read_manifest(env_dir: str) -> list[Entry]:
    """Return the manifest of an environment. Raises OSError and ValueError."""
    with open(f"{env_dir}/{FILE_NAME}", encoding="utf-8", errors="surrogateescape") as file:
        return parse_manifest(file.read())


def _is_as_stated(root: int, entry: Entry) -> bool:
    """Tell whether a file has its size and mtime, or a link its target. Raises OSError where it is gone.

    `root` is a descriptor of the environment's directory.
    """
    if entry.target is not None:
        return os.readlink(entry.path, dir_fd=root) == entry.target
    found = os.stat(entry.path, dir_fd=root, follow_symlinks=False)
    is_file = found.st_mode & 0o170000 == 0o100000
    return is_file and found.st_size == entry.size_bytes and found.st_mtime_ns == entry.mtime_ns


def compare_stats(env_dir: str, entries: Iterable[Entry]) -> Damage:
    """Return which files and links have another size, mtime or target than stated, or are missing."""
    changed, missing = [], []
    with open_directory(env_dir) as root:
        for entry in entries:
            try:
                if not _is_as_stated(root, entry):
                    changed.append(entry.path)
            except FileNotFoundError:
                missing.append(entry.path)
            except OSError:
                changed.append(entry.path)
    return Damage(changed=changed, missing=missing)


def _walk(root: str) -> Iterator[str]:
    left = [""]
    while left:
        prefix = left.pop()
        with os.scandir(f"{root}/{prefix}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}"


def find_extra(env_dir: str, entries: Iterable[Entry]) -> list[str]:
    """Return the files and links of an environment that its manifest does not name, sorted."""
    known = {entry.path for entry in entries} | _OURS
    return sorted(path for path in _walk(env_dir) if path not in known)


def describe_file(env_dir: str, path: str) -> Entry:
    """Return the entry of a file or link as it is now. Raises OSError."""
    from repro.files import sha256_file

    place = f"{env_dir}/{path}"
    if os.path.islink(place):
        return Entry(path, target=os.readlink(place))
    found = os.lstat(place)
    return Entry(path, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, sha256=sha256_file(place))


def _hash_differs(env_dir: str, entry: Entry) -> bool:
    from repro.files import sha256_file

    return sha256_file(f"{env_dir}/{entry.path}") != entry.sha256


def _compare_contents(env_dir: str, entries: Iterable[Entry]) -> list[str]:
    changed = []
    for entry in entries:
        try:
            if entry.target is None and _hash_differs(env_dir, entry):
                changed.append(entry.path)
        except OSError:
            changed.append(entry.path)
    return changed


def compare_deeply(env_dir: str, entries: Sequence[Entry]) -> Damage:
    """Return every file that is changed by content, missing or extra; threads share the hashing."""
    from concurrent.futures import ThreadPoolExecutor

    found = compare_stats(env_dir, entries)
    gone = set(found.missing)
    left = [entry for entry in entries if entry.path not in gone]
    workers = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda start: _compare_contents(env_dir, left[start::workers]), range(workers))
        changed = {path for part in parts for path in part}
    links = {entry.path for entry in left if entry.target is not None}
    changed |= {path for path in found.changed if path in links}
    return Damage(changed=sorted(changed), missing=found.missing, extra=find_extra(env_dir, entries))


def find_damage(env_dir: str, *, deep: bool) -> Damage:
    """Return what is changed (by size, mtime or link; if `deep` by content), missing or extra.

    An environment without a readable manifest is damaged as a whole: its manifest is missing.
    """
    try:
        entries = read_manifest(env_dir)
    except (OSError, ValueError):
        return Damage(missing=(FILE_NAME,))
    if deep:
        return compare_deeply(env_dir, entries)
    found = compare_stats(env_dir, entries)
    return Damage(changed=found.changed, missing=found.missing, extra=find_extra(env_dir, entries))
