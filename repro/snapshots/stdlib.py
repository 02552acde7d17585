"""The names of an interpreter's standard library: our own where it is of our version, else asked of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from repro.formats.lockfile import Interpreter
from repro.process import Runner
from repro.settings import make_guest_environment

_SCRIPT = str(Path(__file__).resolve().parents[1] / "inside" / "stdlib.py")
_TIMEOUT_S = 60.0


def list_stdlib(
    python: str, *, interpreter: Interpreter | None, runner: Runner, environ: Mapping[str, str]
) -> frozenset[str]:
    """Return the top-level names of the standard library of `python`, which `interpreter` describes.

    An interpreter that does not answer is taken to have ours.
    """
    ours = "{}.{}".format(*sys.version_info[:2])
    if interpreter is None or (interpreter.implementation, interpreter.minor) == (sys.implementation.name, ours):
        return sys.stdlib_module_names
    memory = os.memfd_create("repro-stdlib", 0)
    try:
        command = [python, "-I", _SCRIPT, str(memory)]
        env = make_guest_environment(environ)
        runner.capture(command, env=env, pass_fds=(memory,), timeout_s=_TIMEOUT_S, brief=True)
        os.lseek(memory, 0, os.SEEK_SET)
        with open(memory, encoding="utf-8", closefd=False) as file:
            return frozenset(file.read().split()) or sys.stdlib_module_names
    except (OSError, TimeoutError):
        return sys.stdlib_module_names
    finally:
        os.close(memory)
