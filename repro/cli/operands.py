"""What an operand of `repro diff` means: an environment, a lock, a run, or a model.

A directory with an `MLmodel` is a model, one with `artifacts/` and `meta.yaml` a run, any other the place of a lock;
`pylock.toml` and `pylock.*.toml` are PEP 751. What is no path and looks like the id of a run is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from repro import settings
from repro.environments.machine import Machine
from repro.environments.satisfy import look_here
from repro.errors import InvalidSnapshotError, SnapshotNotFoundError, TrackingNotFoundError, UsageError
from repro.formats.lockfile import FILE_NAME, Snapshot
from repro.snapshots.load import load_lock, read_lock
from repro.tracking.file_store import FileStore
from repro.tracking.store import open_store
from repro.values import frozen

HERE = "."
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_RUN_URI = re.compile(r"runs:/+([^/]+)(?:/(.+?))?/*")
_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
_MODEL = "MLmodel"


@frozen
class Operand:
    """A snapshot to compare, what it is of (for people), the lock that restores it, and what its reader should know."""

    label: str
    snapshot: Snapshot
    lock: str | None
    notes: tuple[str, ...] = ()


def _load_lock(path: Path, *, label: str | None = None) -> Operand:
    loaded = load_lock(path)
    return Operand(label=label or str(loaded.path), snapshot=loaded.snapshot, lock=str(path), notes=loaded.notes)


def _load_pylock(path: Path) -> Operand:
    from repro.formats.pylock import parse_pylock

    try:
        text = read_lock(path).decode()
    except UnicodeDecodeError as error:
        raise InvalidSnapshotError(f"`{path}` is not text ({error})") from error
    note = f"`{path}` is a pylock.toml: names and versions are compared, not the Python nor the files"
    return Operand(label=str(path), snapshot=parse_pylock(text, where=str(path)), lock=None, notes=(note,))


def _load_model(directory: Path) -> Operand:
    """Return a model's lock, else the pins of the requirements.txt that MLflow writes."""
    for name in (FILE_NAME, "requirements.txt"):
        if (directory / name).is_file():
            return _load_lock(directory / name)
    raise SnapshotNotFoundError(
        f"the model `{directory}` has neither `{FILE_NAME}` nor `requirements.txt`",
        hint="save it again with a snapshot of its environment",
    )


def _load_run(directory: Path, run_id: str) -> Operand:
    lock = directory / "artifacts" / FILE_NAME
    if not lock.is_file():
        raise SnapshotNotFoundError(
            f"the run `{run_id}` has no artifact `{FILE_NAME}`",
            hint="it was kept without a snapshot; `repro run` takes one",
        )
    return _load_lock(lock, label=f"run {run_id}")


def _find_run_dir(run_id: str) -> Path:
    store = open_store(settings.find_tracking_uri(settings.own_environment()), cwd=Path.cwd())
    if not isinstance(store, FileStore):
        raise SnapshotNotFoundError(
            f"the run `{run_id}` is on a server", hint=f"repro artifacts download {run_id} {FILE_NAME}"
        )
    try:
        return store.find_run_dir(run_id)
    except TrackingNotFoundError as error:
        raise SnapshotNotFoundError(
            f"there is no run `{run_id}` in `{store.root}`", hint="MLFLOW_TRACKING_URI names the directory of the runs"
        ) from error


def _load_run_uri(run_id: str, artifact: str | None) -> Operand:
    directory = _find_run_dir(run_id)
    if artifact is None:
        return _load_run(directory, run_id)
    root = (directory / "artifacts").resolve()
    path = (root / artifact).resolve()
    if not path.is_relative_to(root) or not path.exists():
        raise SnapshotNotFoundError(f"the run `{run_id}` has no artifact `{artifact}`")
    return _load_path(path)


def _load_path(path: Path) -> Operand:
    if path.is_dir():
        if (path / _MODEL).is_file():
            return _load_model(path)
        if (path / "meta.yaml").is_file() and (path / "artifacts").is_dir():
            return _load_run(path, path.name)
        if not (path / FILE_NAME).exists() and (path / "pylock.toml").is_file():
            return _load_pylock(path / "pylock.toml")
        return _load_lock(path)
    if path.name == _MODEL:
        return _load_model(path.parent)
    if path.suffix == ".toml":
        if not _PYLOCK.fullmatch(path.name):
            raise UsageError(
                f"`{path}` is no lock: of TOML files only `pylock.toml` and `pylock.NAME.toml` are read (PEP 751)",
                hint="export it as one, e.g. `uv export --format pylock.toml`",
            )
        return _load_pylock(path)
    return _load_lock(path)


def _load_here(machine: Machine, python: str) -> Operand:
    return Operand(label=f"the environment of {python}", snapshot=look_here(machine, python), lock=None)


def load_operand(word: str, *, machine: Machine, choose: Callable[[], str]) -> Operand:
    """Return what a word of the command line means; `.` is the environment of the interpreter that `choose` returns.

    Raises UsageError for what is both a path and a run, SnapshotNotFoundError, InvalidSnapshotError,
    InterpreterNotFoundError and TrackingError.
    """
    if not word:
        raise UsageError("an operand is empty", hint="name a lock, a run, a model, or `.` for this environment")
    if word == HERE:
        return _load_here(machine, choose())
    if uri := _RUN_URI.fullmatch(word):
        return _load_run_uri(uri.group(1), uri.group(2))
    path = Path(word).expanduser()
    if not _RUN_ID.fullmatch(word):
        return _load_path(path)
    if path.exists():
        raise UsageError(
            f"`{word}` is a path here and looks like the id of a run",
            hint=f"write `./{word}` for the path, or `runs:/{word}` for the run",
        )
    return _load_run(_find_run_dir(word), word)
