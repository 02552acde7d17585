"""Run the command line: `python -m repro`, and what the `repro` command starts."""

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


def run() -> int:
    """Run one command and return its exit code."""
    exit_code = main()
    for number in (SIGINT, SIGTERM):
        if callable(getsignal(number)):
            signal(number, SIG_DFL)
    return exit_code


if __name__ == "__main__":
    sys.exit(run())
