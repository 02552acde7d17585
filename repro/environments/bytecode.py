"""Settle the bytecode of trees once in each boot: Python writes it without a sync, and nothing knows its content.

    trees/<sha256>/pyc/.boot-<ABI>     the boot in which its bytecode there was last looked at
    pycache/<key>/.boot-<ABI>

What was written in this boot is as it was written. Of what is older, a power cut may have cut off or zeroed any: the
interpreter that would use it reads it first (see `inside/check_bytecode.py`), and what is damaged is removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from repro.environments.interpreters import Candidate
from repro.environments.machine import Machine
from repro.files import SETTLED, find_boot, unlink, write_atomically
from repro.settings import make_guest_environment

_SCRIPT = str(Path(__file__).resolve().parents[1] / "inside" / "check_bytecode.py")


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def _remove_all(directory: str) -> None:
    """Remove all bytecode below a directory; the directories stay, for links lead there."""
    for parent, _, names in os.walk(directory):
        for name in names:
            if ".pyc" in name:
                unlink(f"{parent}/{name}")


def _check(machine: Machine, python: str, directories: Sequence[str]) -> None:
    finished = machine.runner.capture(
        [python, "-I", "-S", _SCRIPT],
        env=make_guest_environment(machine.environ),
        stdin="".join(f"{each}\n" for each in directories),
    )
    if finished.returncode:  # what cannot be read cannot be trusted
        for each in directories:
            _remove_all(each)


def settle_bytecode(machine: Machine, candidate: Candidate, key: str, trees: Iterable[str]) -> None:
    """Look at the bytecode that an environment of `key` would use of these trees, given by sha256, and of its own.

    Raises OSError.
    """
    store, boot = machine.store, find_boot()
    if boot == SETTLED:
        return
    directories = [store.room("pycache", key), *(store.room("trees", sha256, "pyc") for sha256 in trees)]
    marks = {each: f"{each}/.boot-{candidate.interpreter.abi}" for each in directories if os.path.isdir(each)}
    left = [each for each, mark in marks.items() if _read(mark) != boot]
    if left:
        _check(machine, candidate.path, left)
    for each in left:
        write_atomically(marks[each], boot, durable=False)
