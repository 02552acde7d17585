"""MLflow releases of repro's own: each locked once, restored into the store, and apart from the user's environments.

    <data>/repro/mlflow/                    <data> is XDG_DATA_HOME, else ~/.local/share
        <release>/requirements-lock.txt     what was chosen when it was installed first; the release is there with it
        <release>/python                    link to the interpreter, where one was named
        current                             link to the release that is used, written last
        install.lock                        held while one is locked

What was chosen is kept apart from the store, so that an emptied cache brings back the very same files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from repro import settings
from repro.environments.interpreters import Candidate
from repro.environments.lock import Locked, LockRequest, lock_requirements
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.environments.restore import Check, Request, restore_environment
from repro.environments.snapshot import write_lock
from repro.errors import ReproError, UsageError
from repro.files import hold_lock, make_directory, point_link, remove_tree
from repro.formats.lockfile import FILE_NAME, Snapshot, is_version
from repro.formats.moment import format_moment
from repro.snapshots.load import load_lock
from repro.snapshots.pins import IndexUnreachableError
from repro.values import frozen

DEFAULT_VERSION = "3.17.2"
"""The release that repro is tested against: the same everywhere, found without asking an index what is the newest."""
_CURRENT = "current"
_PYTHON = "python"
_OLD_MAJOR = 3  # releases before it import pkg_resources, which newer setuptools no longer have
_OLD_SETUPTOOLS = "setuptools<81"


@frozen
class Wish:
    """Which MLflow is asked for: a version, else the newest there was `before` a moment, else the default.

    `python` is a word for the interpreter, without one it is our own.
    """

    version: str | None = None
    before: datetime | None = None
    python: str | None = None
    offline: bool = False


@frozen
class Release:
    """A release that was locked here: its directory, and whether it is the one that is used."""

    directory: Path
    is_current: bool

    @property
    def lock(self) -> Path:
        """Its lock file."""
        return self.directory / FILE_NAME

    @property
    def python(self) -> str | None:
        """The interpreter that was named for it, while that is there."""
        link = self.directory / _PYTHON
        return os.readlink(link) if link.exists() else None

    def read_snapshot(self) -> Snapshot:
        """Return what was chosen. Raises InvalidSnapshotError."""
        return load_lock(self.lock).snapshot


@frozen
class Installation:
    """A release in its environment; `version` is MLflow's, `is_new` tells whether it was locked now."""

    release: Release
    version: str
    environment: Environment
    is_new: bool
    notes: tuple[str, ...]

    @property
    def program(self) -> str:
        """The path of its `mlflow`."""
        return locate_program(self.environment)


def locate_program(environment: Environment) -> str:
    """Return the path of the `mlflow` of an environment."""
    return os.path.join(environment.path, "bin", "mlflow")


def _get_root(machine: Machine) -> Path:
    return Path(settings.get_data_dir(machine.environ), "repro", "mlflow")


def _parse_version(text: str) -> str:
    if not is_version(text):
        raise UsageError(f"`{text}` is no version of MLflow", hint=f"repro mlflow install {DEFAULT_VERSION}")
    from packaging.version import Version

    return str(Version(text))


def _choose_version(wish: Wish) -> str | None:
    """Return the version to lock, None for the newest of its time."""
    if wish.version:
        return _parse_version(wish.version)
    return None if wish.before else DEFAULT_VERSION


def _name_release(version: str | None, before: datetime | None, candidate: Candidate) -> str:
    """Return a name that is another for whatever leads to another lock."""
    words = [version or "newest", *([f"as-of-{format_moment(before)}"] if before else [])]
    return "-".join([*words, candidate.interpreter.abi, candidate.interpreter.platform])


def _format_requirements(version: str | None) -> str:
    if version is None:
        return "mlflow\n"
    from packaging.version import Version

    more = f"{_OLD_SETUPTOOLS}\n" if Version(version).major < _OLD_MAJOR else ""
    return f"mlflow=={version}\n{more}"


def find_version(snapshot: Snapshot) -> str:
    """Return the version of MLflow in a snapshot. Raises ReproError where it holds none."""
    for each in snapshot.distributions:
        if each.name == "mlflow":
            return each.version
    raise ReproError("the lock holds no MLflow", hint="`repro mlflow uninstall` and `repro mlflow install`")


def _choose_files(machine: Machine, wish: Wish, candidate: Candidate) -> Locked:
    """Choose what a release needs. Raises ReproError."""
    version = _choose_version(wish)
    wanted = f"MLflow {version}" if version else "MLflow"
    if wish.offline:
        raise ReproError(
            f"{wanted} was not installed here before", hint="the first time needs an index: no `--offline`"
        )
    python = candidate.interpreter.version
    machine.report(f"locking {wanted} for Python {python}")
    with tempfile.TemporaryDirectory(prefix="repro-mlflow-") as directory:
        requirements = Path(directory, "mlflow.in")
        requirements.write_text(_format_requirements(version), encoding="utf-8")
        request = LockRequest(files=(requirements,), python=candidate.path, before=wish.before)
        try:
            return lock_requirements(machine, request)
        except IndexUnreachableError:
            raise
        except ReproError as error:
            raise ReproError(
                f"{wanted} cannot be locked for Python {python}: {error.message}",
                hint="name another release, or another interpreter with `--python PATH`",
                details=tuple(line.replace(f"{directory}/", "") for line in error.details),
            ) from error


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Say it in a sentence where nothing can be kept in the user's data directory."""
    try:
        yield
    except OSError as error:
        raise ReproError(
            f"nothing can be kept in `{root}` ({error.strerror or error})",
            hint="name another directory with XDG_DATA_HOME",
        ) from error


def _ensure_lock(machine: Machine, wish: Wish, candidate: Candidate, release: Release) -> tuple[bool, tuple[str, ...]]:
    """Lock a release where it is not locked yet; tell whether it was, and return notes."""
    if release.lock.exists():
        return False, ()
    root = release.directory.parent
    with _writing(root):
        make_directory(root)
        wait = lambda: machine.report("waiting: another process is locking an MLflow")  # noqa: E731
        with hold_lock(root / "install.lock", wait):
            if release.lock.exists():
                return False, ()
            locked = _choose_files(machine, wish, candidate)
            make_directory(release.directory)
            write_lock(locked.snapshot, release.lock)
            return True, locked.notes


def restore_release(machine: Machine, release: Release, *, offline: bool = False) -> Environment:
    """Return the environment of a release; in a cache that does not hold it yet, it is restored there.

    Raises what `restore_environment` raises.
    """
    request = Request(lock=release.lock, python=release.python, offline=offline, check=Check.FILES)
    return restore_environment(machine, request)


def install_mlflow(machine: Machine, wish: Wish) -> Installation:
    """Return the MLflow asked for, in an environment of its own, and let it be the one that is used from now on.

    One that was installed before is looked up. Raises UsageError for what is no version, InterpreterNotFoundError,
    ReproError where it cannot be locked or kept, and RestoreError.
    """
    python = settings.locate_python(wish.python, machine.environ) if wish.python else settings.own_python()
    candidate = machine.make_finder().examine(python)
    root = _get_root(machine)
    directory = root / _name_release(_choose_version(wish), wish.before, candidate)
    release = Release(directory=directory, is_current=True)
    is_new, notes = _ensure_lock(machine, wish, candidate, release)
    if wish.python:
        with _writing(root):
            point_link(directory / _PYTHON, candidate.path)
    version = find_version(release.read_snapshot())
    environment = restore_release(machine, release, offline=wish.offline)
    with _writing(root):
        point_link(root / _CURRENT, directory.name)
    return Installation(
        release=release, version=version, environment=environment, is_new=is_new, notes=(*notes, *environment.notes)
    )


def list_releases(machine: Machine) -> tuple[Release, ...]:
    """Return the releases that were locked here, by name."""
    root = _get_root(machine)
    current = os.path.realpath(root / _CURRENT)
    locks = sorted(path for path in root.glob(f"*/{FILE_NAME}") if path.parent.name != _CURRENT)
    return tuple(Release(directory=lock.parent, is_current=os.path.realpath(lock.parent) == current) for lock in locks)


def find_current(machine: Machine) -> Release | None:
    """Return the release that was installed last."""
    return next((release for release in list_releases(machine) if release.is_current), None)


def remove_release(release: Release) -> None:
    """Forget a release; its environment goes when the cache is pruned. Raises ReproError."""
    root = release.directory.parent
    with _writing(root):
        if release.is_current:
            (root / _CURRENT).unlink(missing_ok=True)
        release.lock.unlink(missing_ok=True)
        remove_tree(release.directory)
