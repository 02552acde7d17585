"""The code that goes along with a model: its loader, and what the user has named as `code_paths`."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from repro.errors import ModelError

DIRECTORY = "code"
_LEFT_OUT = ("__pycache__", ".git", ".ipynb_checkpoints")


def copy_loader(loader: Path, directory: Path, flavor: str) -> str:
    """Copy a loader below a model's `code/` and return its module's name.

    The name says its content: two models in one process never get each other's loader.
    """
    content = loader.read_bytes()
    name = f"repro_{flavor}_{hashlib.sha256(content).hexdigest()[:12]}"
    code_dir = directory / DIRECTORY
    code_dir.mkdir(exist_ok=True)
    (code_dir / f"{name}.py").write_bytes(content)
    return name


def _check_link(path: str, above: tuple[str, ...]) -> None:
    """Raise ModelError for a link that leads out of what is copied, back up in it, or nowhere."""
    real = os.path.realpath(path)
    if not os.path.exists(real):
        raise ModelError(f"`{path}`, of the model's code, is a link that leads nowhere")
    if real in above:
        raise ModelError(f"`{path}`, of the model's code, is a link that leads back up")
    if not real.startswith(f"{above[0]}{os.sep}"):
        raise ModelError(
            f"`{path}`, of the model's code, is a link that leads out of it",
            hint="name what it leads to in `code_paths`",
        )


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.endswith((".pyc", ".pyo"))


def _copy_tree(source: str, target: Path, above: tuple[str, ...]) -> None:
    """Copy a directory; `above` are those that it lies in, from the root of what is copied on, and itself."""
    target.mkdir()
    for entry in sorted(os.scandir(source), key=lambda each: each.name):
        if _is_left_out(entry.name):
            continue
        if entry.is_symlink():
            _check_link(entry.path, above)
        if entry.is_dir():
            _copy_tree(entry.path, target / entry.name, (*above, os.path.realpath(entry.path)))
        elif entry.is_file():
            shutil.copyfile(entry.path, target / entry.name)
        else:
            raise ModelError(f"`{entry.path}`, of the model's code, is neither a file nor a directory")


def _find_source(path: str | os.PathLike[str], directory: Path) -> Path:
    """Return what a code path names, without links. Raises ModelError."""
    source = Path(os.path.realpath(path))
    if not source.exists():
        raise ModelError(f"`{os.fspath(path)}`, of `code_paths`, is not there")
    if directory.resolve().is_relative_to(source):
        raise ModelError(f"`{os.fspath(path)}`, of `code_paths`, is where the model itself is saved")
    return source


def copy_code(code_paths: Sequence[str | os.PathLike[str]], directory: Path) -> None:
    """Copy files and directories below a model's `code/`, under their own names.

    Bytecode is left out, and what a link inside leads to is copied. Raises ModelError.
    """
    if isinstance(code_paths, str | os.PathLike):
        raise ModelError("`code_paths` is a list of paths", hint=f"code_paths=[{os.fspath(code_paths)!r}]")
    for path in code_paths:
        source = _find_source(path, directory)
        target = directory / DIRECTORY / os.path.basename(os.path.abspath(path))
        if target.exists():
            raise ModelError(f"`code_paths` names `{target.name}` twice")
        if source.is_dir():
            _copy_tree(str(source), target, (str(source),))
        else:
            shutil.copyfile(source, target)
