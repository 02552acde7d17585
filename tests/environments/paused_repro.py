"""`repro` with a pause before each step that takes a millisecond, so that a kill hits it however slow the machine is.

Run by the tests of faults as a script; what is met is the command itself, only slower. What is built and unpacked, and
each pause, is noted in the file that FAULTS_LOG names, a line each: the process, the deed, and of what.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.cli.main import main
from repro.environments import build, bundle, trees

PAUSE_S = float(os.environ.get("FAULTS_PAUSE_S", "0.1"))
STEPS = ("verify_trees", "perform", "write_atomically", "point_link")


def pause_before(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step of a build with a pause before it."""

    def paused(*args: Any, **named: Any) -> Any:
        note("pauses", step.__name__)
        time.sleep(PAUSE_S)
        return step(*args, **named)

    return paused


def note(deed: str, what: str) -> None:
    """Add a line to the log, in one call of the kernel: lines of several processes never mix."""
    if log := os.environ.get("FAULTS_LOG"):
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{os.getpid()} {deed} {what}\n".encode())
        os.close(descriptor)


def note_build(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the building of an environment with its beginning and end noted."""

    def noted(machine: Any, order: Any) -> Any:
        note("begins", order.key)
        built = step(machine, order)
        note("ends", order.key)
        return built

    return noted


def note_unpacking(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the unpacking of a wheel, noted."""

    def noted(wheel: Path, target: Path, home: Path) -> Any:
        note("unpacks", home.name)
        return step(wheel, target, home)

    return noted


if __name__ == "__main__":
    for name in STEPS:
        setattr(build, name, pause_before(getattr(build, name)))
    setattr(bundle, "verify_trees", build.verify_trees)  # noqa: B010
    setattr(build, "build_environment", note_build(build.build_environment))  # noqa: B010
    setattr(trees, "_unpack", note_unpacking(getattr(trees, "_unpack")))  # noqa: B009, B010
    sys.exit(main())
