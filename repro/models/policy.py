"""What happens where a model's snapshot is not restored: a warning, an error, or it is restored."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from repro import settings
from repro.errors import UsageError

VARIABLE = "REPRO_SNAPSHOT_POLICY"
KEY = "snapshot-policy"


class Policy(Enum):
    """What is done where the environment does not satisfy a model's snapshot and nobody has asked to restore it."""

    WARN = "warn"
    ERROR = "error"
    RESTORE = "restore"


def _parse(value: object, where: str) -> Policy:
    try:
        return Policy(value)
    except ValueError:
        known = ", ".join(each.value for each in Policy)
        raise UsageError(f"{where} is `{value}`, which is no policy", hint=f"one of {known}") from None


def _read_project(project: Path) -> object:
    """Return what the project's `[tool.repro]` says, None where it says nothing."""
    path = project / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if KEY not in text:  # most say nothing, and reading TOML takes a while
        return None
    from repro.formats.toml import parse_toml

    tool = parse_toml(text, where=str(path)).get("tool")
    table = tool.get("repro") if isinstance(tool, dict) else None
    return table.get(KEY) if isinstance(table, dict) else None


def choose_policy(given: str | None, *, restore: bool | None, environ: Mapping[str, str], project: Path) -> Policy:
    """Return the policy: of the arguments, else of REPRO_RESTORE and REPRO_SNAPSHOT_POLICY, else of the project.

    Who has said not to restore, `restore` False, is only warned where the latter two would. Raises UsageError for one
    that there is not, and for arguments that contradict each other.
    """
    asked = None if given is None else _parse(given, "`policy`")
    if asked is Policy.RESTORE and restore is False:
        raise UsageError("`restore=False` and `policy='restore'` contradict each other", hint="give one of them")
    if restore:
        return Policy.RESTORE
    if asked:
        return asked
    found = _find_default(restore, environ, project)
    return Policy.WARN if found is Policy.RESTORE and restore is False else found


def _find_default(restore: bool | None, environ: Mapping[str, str], project: Path) -> Policy:
    if restore is None and settings.wants_restore(environ):
        return Policy.RESTORE
    if named := settings.find_snapshot_policy(environ):
        return _parse(named, f"`{VARIABLE}`")
    in_project = _read_project(project)
    return Policy.WARN if in_project is None else _parse(in_project, f"`{KEY}` of `{project / 'pyproject.toml'}`")
