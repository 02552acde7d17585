"""What a project's own Python files and notebooks import: found by reading them, never by running them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from repro.formats.source_code import Import, find_imports, find_notebook_imports
from repro.values import field, frozen, mutable

MAX_FILES = 2000
MAX_BYTES = 1 << 20  # of a Python file; data, or made by a program
MAX_NOTEBOOK_BYTES = 1 << 24  # its pictures count
MAX_TOTAL_BYTES = 1 << 23  # of Python files that import something: some seconds
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "mlruns", "mlartifacts"})
_OUTPUTS = frozenset({"build", "dist"})
_OF_TOOLS = frozenset({"setup.py", "noxfile.py"})  # run where the tool is, not where the project is
_MODULES = (".py", ".pyx", ".so", ".pyd")
_SOURCE_ROOTS = ("src", "lib", "python")


@frozen
class Named:
    """A module that the code names, with its places, `path:line`; `optional` where each place can do without it.

    `local` tells that the project itself has a module or a package of this name, `directory` that it has a directory of
    it, which is a package only where nothing installed is (PEP 420).
    """

    name: str
    places: tuple[str, ...]
    optional: bool
    local: bool
    directory: bool

    @property
    def top(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]


@frozen
class Code:
    """What the files below `root` import; `unreadable` are (file, reason), `notes` say what was left out."""

    root: Path
    files: int
    imports: tuple[Named, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@mutable
class _Tree:
    """The project's directories: the files to read, and for each directory what could be imported from it."""

    files: list[str] = field(default_factory=list)
    modules: dict[str, set[str]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    directories: dict[str, set[str]] = field(default_factory=dict)
    complete: bool = True


def _is_left_out(entry: os.DirEntry[str]) -> bool:
    """Tell whether a directory is not the project's own code."""
    if entry.name.startswith(".") or entry.name in _SKIPPED or entry.name.endswith(".egg-info"):
        return True
    if entry.name in _OUTPUTS:
        return not os.path.exists(os.path.join(entry.path, "__init__.py"))
    return any(os.path.exists(os.path.join(entry.path, mark)) for mark in ("pyvenv.cfg", "conda-meta"))


def _list_directory(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _note_entry(tree: _Tree, root: str, directory: str, entry: os.DirEntry[str]) -> str | None:
    """Take a directory's entry into the tree; return the path of a directory to look into."""
    path = os.path.join(directory, entry.name)
    if entry.is_dir(follow_symlinks=False):
        if _is_left_out(entry):
            return None
        if os.path.exists(os.path.join(entry.path, "__init__.py")):
            tree.modules[directory].add(entry.name)
        tree.directories[directory].add(entry.name)
        return path
    if entry.name.endswith(_MODULES):
        tree.modules[directory].add(entry.name.partition(".")[0])
    if entry.name.endswith((".py", ".ipynb")) and path not in _OF_TOOLS and entry.is_file():
        tree.files.append(path)
    return None


def _walk(root: str) -> _Tree:
    """Look at the project, the nearest directories first; `directory` is relative to the root, "" the root itself."""
    tree = _Tree()
    waiting = [""]
    for directory in waiting:
        if len(tree.files) >= MAX_FILES or len(waiting) > 10 * MAX_FILES:
            tree.complete = False
            break
        tree.modules[directory], tree.directories[directory] = set(), set()
        entries = _list_directory(os.path.join(root, directory))
        if directory and any(entry.name == "__init__.py" for entry in entries):
            tree.packages.add(directory)
        waiting += [path for entry in entries if (path := _note_entry(tree, root, directory, entry)) is not None]
    del tree.files[MAX_FILES:]
    return tree


def _read_file(root: str, path: str) -> tuple[Import, ...]:
    """Return what a file imports. Raises ValueError and OSError."""
    full = os.path.join(root, path)
    is_notebook = path.endswith(".ipynb")
    if os.path.getsize(full) > (MAX_NOTEBOOK_BYTES if is_notebook else MAX_BYTES):
        raise ValueError("it is too large to be read")
    with open(full, "rb") as file:
        content = file.read()
    if b"import" not in content:
        return ()
    return find_notebook_imports(content) if is_notebook else find_imports(content)


def _ancestors(directory: str) -> Iterator[str]:
    while directory:
        yield directory
        directory = os.path.dirname(directory)
    yield ""


def _is_local(tree: _Tree, top: str, directory: str, anywhere: set[str]) -> bool:
    """Tell whether a file in `directory` can mean a module beside it or above it, or a package of the project."""
    places = (*_ancestors(directory), *_SOURCE_ROOTS)
    return top in anywhere or any(top in tree.modules.get(place, ()) for place in places)


def _is_directory(tree: _Tree, top: str, directory: str) -> bool:
    return any(top in tree.directories.get(place, ()) for place in (directory, "", *_SOURCE_ROOTS))


def _find_packages(tree: _Tree) -> set[str]:
    """Return the names of the packages that lie in no other package."""
    return {os.path.basename(path) for path in tree.packages if os.path.dirname(path) not in tree.packages}


@mutable
class _Draft:
    places: list[str] = field(default_factory=list)
    optional: bool = True
    local: bool = True
    directory: bool = True


def scan_code(root: Path) -> Code:
    """Return what the project at `root` imports.

    Virtual environments, hidden directories, `node_modules` and the like are left out, and so is what exceeds the
    bounds above; files that cannot be read are named.
    """
    tree = _walk(str(root))
    anywhere = _find_packages(tree) | {root.resolve().name}
    drafts: dict[str, _Draft] = {}
    unreadable = []
    total_bytes = read = 0
    for path in tree.files:
        try:
            imports = _read_file(str(root), path)
            total_bytes += os.path.getsize(root / path)
        except (OSError, ValueError) as error:
            unreadable.append((path, str(error.strerror if isinstance(error, OSError) else error)))
            continue
        read += 1
        directory = os.path.dirname(path)
        for each in imports:
            top = each.name.partition(".")[0]
            draft = drafts.setdefault(each.name, _Draft())
            draft.places.append(f"{path}:{each.line}")
            draft.optional &= each.optional
            draft.local &= _is_local(tree, top, directory, anywhere)
            draft.directory &= _is_directory(tree, top, directory)
        if total_bytes > MAX_TOTAL_BYTES:
            tree.complete = False
            break
    notes = () if tree.complete else (f"only the first {read} Python files of `{root}` were read for their imports",)
    named = tuple(
        Named(
            name=name,
            places=tuple(draft.places),
            optional=draft.optional,
            local=draft.local,
            directory=draft.directory,
        )
        for name, draft in sorted(drafts.items())
    )
    return Code(root=root, files=read, imports=named, unreadable=tuple(unreadable), notes=notes)
