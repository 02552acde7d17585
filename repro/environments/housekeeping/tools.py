"""The tools that restores and snapshots use, and their versions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import metadata

from repro.environments.machine import Machine
from repro.snapshots.uv import find_uv

TOOLS = ("uv", "pip", "virtualenv", "pip-tools", "git")
_TIMEOUT_S = 20.0


def _ask(machine: Machine, program: str | None) -> str | None:
    """Return the version a program says it has: the first word of its answer with a digit in front."""
    if program is None:
        return None
    try:
        finished = machine.runner.capture([program, "--version"], timeout_s=_TIMEOUT_S)
    except OSError:  # TimeoutError is one
        return None
    return next((word for word in finished.stdout.split() if word[:1].isdigit()), None)


def _find_ours(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def find_tools(machine: Machine) -> dict[str, str | None]:
    """Return the version of each tool, None where it is not here."""
    special: dict[str, Callable[[], str | None]] = {
        "uv": lambda: _ask(machine, find_uv()),
        "git": lambda: _ask(machine, shutil.which("git", path=machine.environ.get("PATH"))),
    }
    return {name: special[name]() if name in special else _find_ours(name) for name in TOOLS}
