"""`repro` with a pause before each step that takes a millisecond, so that a kill hits it however slow the machine is.

Run by the tests of kills as a script; what is killed is the command itself, only slower.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from repro.cli.main import main
from repro.environments import build

PAUSE_S = 0.1
STEPS = ("verify_trees", "perform", "write_atomically", "point_link")


def pause_before(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step of a build with a pause before it."""

    def paused(*args: Any, **named: Any) -> Any:
        time.sleep(PAUSE_S)
        return step(*args, **named)

    return paused


if __name__ == "__main__":
    for name in STEPS:
        setattr(build, name, pause_before(getattr(build, name)))
    sys.exit(main())
