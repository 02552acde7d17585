"""A link from a project to a sealed environment of the store, so that editors find it: `.venv`.

It leads to the key's `current`, so that an environment that is built again is found by the link too. The directory is
linked, never the interpreter alone: one that finds no `pyvenv.cfg` beside its `bin` runs without the environment.
"""

from __future__ import annotations

import os

from repro.environments.lookup import Environment
from repro.environments.roots import keep_link
from repro.environments.store import Store
from repro.errors import RestoreError
from repro.files import point_link

FILE_NAME = ".venv"


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and not set(text) - set("0123456789abcdef")


def is_link_of_ours(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a symbolic link to an environment of a store, one that is gone included."""
    try:
        parts = os.readlink(path).split("/")
    except OSError:
        return False
    if len(parts) < 5 or parts[-3] != "envs":
        return False
    layout, _, key, name = parts[-4:]
    return layout[:1] == "v" and layout[1:].isdigit() and _is_hex(key, 16) and (name == "current" or _is_hex(name, 8))


def link_environment(store: Store, environment: Environment, link: str | os.PathLike[str]) -> str:
    """Make `link` a symbolic link to a sealed environment, in one step where it is such a link already.

    Returns its absolute path. Raises RestoreError where anything else is there, or it cannot be made.
    """
    path = os.path.abspath(os.path.expanduser(link))
    if os.path.lexists(path) and not is_link_of_ours(path):
        raise RestoreError(
            f"`{path}` is there, and is no link to an environment of repro's",
            hint="move it away, or name another place with `--link=PATH`",
        )
    target = store.room("envs", environment.key, "current")
    try:
        if not (os.path.islink(path) and os.readlink(path) == target):
            point_link(path, target)
    except OSError as error:
        raise RestoreError(
            f"the link `{path}` cannot be made ({error.strerror})", hint="name another place with `--link=PATH`"
        ) from error
    keep_link(store, path, environment.key)
    return path
