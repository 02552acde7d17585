"""Tell whether an environment's files are what its manifest says: a look-up where none has changed since they were.

Whoever compares them sees the ctimes too, which the kernel sets at every change. Where they sum up to what they did at
a comparison that found no damage, in the same boot, another would find none. The names of such sums lie in `takes/`,
see retake.py.
"""

from __future__ import annotations

import time

from repro import settings
from repro.environments.lookup import look_up, name_options
from repro.environments.manifest import FILE_NAME as MANIFEST
from repro.environments.manifest import find_damage
from repro.environments.ready import FILE_NAME as READY
from repro.environments.ready import find_stamp
from repro.environments.retake import keep_take, name_take, read_take
from repro.files import find_boot
from repro.snapshots.sweep import sweep_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from repro.environments.lookup import Environment
    from repro.environments.machine import Machine
    from repro.environments.store import Store
    from repro.snapshots.sweep import Sweep, SweepAhead

_SOUND = "sound"
_TICK_NS = 1_000_000_000  # a change within a tick of the kernel's clock may leave the ctime as it was


def _sweep(env_dir: str, ahead: SweepAhead | None) -> Sweep | None:
    try:
        installed, rest = (ahead and ahead.find_environment(env_dir)) or sweep_environment(env_dir, (), marker=READY)
    except OSError:
        return None
    return installed + rest


def _name(env_dir: str, swept: Sweep) -> str:
    manifest = str(find_stamp(f"{env_dir}/{MANIFEST}"))
    return name_take(env_dir, (), swept=str(swept), lock=b"", options=[_SOUND, find_boot(), manifest])


def is_sound(store: Store, env_dir: str, *, ahead: SweepAhead | None = None, now_ns: int | None = None) -> bool:
    """Tell whether each file has the size and mtime that the manifest states, and there is none besides.

    What was begun `ahead` is taken where it is of this environment.
    """
    now_ns = now_ns or time.time_ns()
    swept = _sweep(env_dir, ahead)
    name = _name(env_dir, swept) if swept else None
    if name and read_take(store, name) == _SOUND:
        return True
    if find_damage(env_dir, deep=False):
        return False
    if name and swept and swept.newest_ns < now_ns - _TICK_NS:
        keep_take(store, name, _SOUND)
    return True


def find_sound(machine: Machine, lock: Path, *, python: str | None) -> Environment | None:
    """Return the environment that a lock led to before, where it is ready and sound: what `restore` would look up.

    `python` is what a caller has asked for. None leaves it to `restore`. Raises RestoreError for a store that somebody
    else could have filled.
    """
    machine.store.check()
    python = settings.locate_python(python, machine.environ) if python else None
    try:
        with open(lock, "rb") as file:
            content = file.read()
    except OSError:
        return None
    found = look_up(machine.store, content, name_options(python=python, allow_missing=False), lock=str(lock))
    return found if found and is_sound(machine.store, found.path, ahead=machine.ahead) else None
