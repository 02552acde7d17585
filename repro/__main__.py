"""Run the command line: `python -m repro`, and what the `repro` command starts."""

import atexit
import gc
import os
import sys
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    signal,
)

# Before anything of ours is imported: a ctrl-C until a command runs ends it as it ends any program, with no traceback.
# One that is ignored (`repro ... &` in a script) stays so.
if getsignal(SIGINT) is default_int_handler:
    signal(SIGINT, SIG_DFL)

from repro.cli.main import main

_OBJECTS_BEFORE_COLLECTION = 50_000  # more than a run makes: with Python's 700 it is looked through thirty times


def _end_at_once(ending: list[int]) -> None:
    """End with the exit code, where there is one; to take the interpreter apart takes longer than to start it."""
    if ending:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ending[0])


def run() -> int:
    """Run one command and return its exit code, with which the process is then to end."""
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    ending: list[int] = []
    if not atexit._ncallbacks():  # first registered, last called; hooks of the user's (coverage) must be called too
        atexit.register(_end_at_once, ending)
    exit_code = main()
    for number in (SIGINT, SIGTERM):
        if callable(getsignal(number)):
            signal(number, SIG_DFL)
    ending.append(exit_code)
    return exit_code


if __name__ == "__main__":
    sys.exit(run())
