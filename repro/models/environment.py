"""A model's own environment: restored from its lock, or from what MLflow wrote beside it, locked once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from repro import settings
from repro.environments.lookup import Environment
from repro.environments.machine import Machine
from repro.errors import ModelError, SnapshotNotRestoredWarning
from repro.files import sha256_file
from repro.formats.lockfile import Distribution, Interpreter, Snapshot
from repro.models.directory import ModelDirectory
from repro.values import frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from repro.snapshots.drift import Drift

_RECENT = timedelta(days=30)
_EMPTY = Snapshot(interpreter=None, distributions=())


@frozen
class EnvironmentWish:
    """How a model's environment is made: `python` is the base to restore on, `as_of` the day whose index is asked.

    Both are for those who know better than the model: without them it is the Python that it names, and where only
    loose files say what it needs, an index as of the day it was saved.
    """

    python: str | None = None
    offline: bool = False
    as_of: str | None = None


def _find_day(directory: ModelDirectory, wish: EnvironmentWish) -> datetime | None:
    """Return the moment whose index loose files are locked with, None for now: that of an older model's saving."""
    from repro.formats.moment import parse_moment

    if wish.as_of:
        return parse_moment(wish.as_of)
    saved = directory.model.utc_time_created
    if not saved:
        return None
    try:
        moment = datetime.fromisoformat(saved).replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return moment if datetime.now(timezone.utc) - moment > _RECENT else None


def _refuse_nameless(directory: ModelDirectory) -> ModelError:
    return ModelError(
        f"`{directory.name}` names no environment: it has no `requirements-lock.txt`, `python_env.yaml`, `conda.yaml` "
        "or `requirements.txt`",
        hint="load it where its packages are, without restoring, or save it again with `repro.save_model`",
    )


def restore_with_lock(
    machine: Machine, directory: ModelDirectory, wish: EnvironmentWish, say: Callable[[str], None]
) -> tuple[Environment, Path]:
    """Return the environment of a model, as `restore_for`, and the lock that it was made of."""
    from repro.environments.restore import Request, restore_environment

    python = settings.locate_python(wish.python, machine.environ) if wish.python else None

    def restore(path: Path) -> Environment:
        return restore_environment(machine, Request(lock=path, python=python, offline=wish.offline))

    if lock := directory.lock:
        return restore(lock), lock
    file = directory.loose_file
    if file is None:
        raise _refuse_nameless(directory)
    from repro.environments.lock import LockRequest
    from repro.environments.loose_restore import lock_loose, restore_loose

    asked = LockRequest(files=(file,), python=python, before=_find_day(directory, wish), of_period=True)
    locked = lock_loose(machine, asked, say)
    restored = restore_loose(machine, asked, locked, restore, say)
    return restored.environment, restored.locked.path


def restore_for(
    machine: Machine, directory: ModelDirectory, wish: EnvironmentWish, say: Callable[[str], None]
) -> Environment:
    """Return the environment of a model, made where it is not there yet; `say` gets warnings.

    Raises ModelError for a model that names none, and what locking and restoring raise.
    """
    return restore_with_lock(machine, directory, wish, say)[0]


def _read_pins(file: Path, machine: Machine, here: Interpreter) -> Snapshot:
    """Return what loose files pin, as a snapshot: names and versions, and the Python that they name."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    from repro.snapshots.wanted import read_wanted

    wanted = read_wanted((file,), environ=machine.environ)
    pins = {}
    for each in wanted.required:
        required = Requirement(each.text)
        exact = [one.version for one in required.specifier if one.operator == "==" and not one.version.endswith(".*")]
        if exact and not each.for_builds and (required.marker is None or required.marker.evaluate()):
            name = canonicalize_name(required.name)
            pins[name] = Distribution(name=name, version=exact[0])
    version = next((wish.version for wish in wanted.pythons if wish.version), here.version)
    is_alike = version.split(".")[:2] == here.version.split(".")[:2]  # MLflow names a patch, and takes any
    python = here if is_alike else replace(here, version=version, abi="")
    return Snapshot(interpreter=python, distributions=tuple(pins[name] for name in sorted(pins)))


def find_drift(machine: Machine, directory: ModelDirectory, python: str | None = None) -> tuple[Path, Drift] | None:
    """Return what keeps the running interpreter, or `python`, from satisfying a model, and the file that says so.

    None where nothing says what the model needs. Raises what reading the file raises.
    """
    from repro.environments.satisfy import look_here
    from repro.snapshots.drift import compare
    from repro.snapshots.here import compare_here, scan_here
    from repro.snapshots.load import load_lock

    if lock := directory.lock:
        if python is None:
            return lock, compare_here(lock)[1].without_added()
        here = look_here(machine, python)
        return lock, compare(load_lock(lock, get_python=lambda: _of(here)).snapshot, here).without_added()
    file = directory.loose_file
    if file is None:
        return None
    here = look_here(machine, python) if python else scan_here(_EMPTY)
    pinned = _read_pins(file, machine, _of(here))
    names = {each.name for each in pinned.distributions}
    alike = tuple(
        Distribution(name=each.name, version=each.version) for each in here.distributions if each.name in names
    )
    return file, compare(pinned, replace(here, distributions=alike)).without_added()


def _of(here: Snapshot) -> Interpreter:
    if here.interpreter is None:
        raise ModelError("the interpreter that is compared with a model does not say what it is")
    return here.interpreter


_warned: set[str] = set()


def warn_of_drift(path: Path, drift: Drift, *, command: str, stacklevel: int = 2) -> None:
    """Warn that a model's environment is not restored, once for each content of what says so in this process."""
    from repro.environments.satisfy import format_warning

    key = sha256_file(path)
    if key in _warned:
        return
    text = format_warning(drift, path=str(path), command=command)
    warnings.warn(text, SnapshotNotRestoredWarning, stacklevel=stacklevel + 1)
    _warned.add(key)  # not where warnings are errors
