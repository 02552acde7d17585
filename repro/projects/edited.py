"""Run a script as its own text says, once or again whenever it is saved."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from repro.errors import ReproError, UsageError
from repro.formats.directive import Directive, find_directive
from repro.projects.assignments import parse_assignments
from repro.projects.request import RunRequest
from repro.projects.script import Script, find_script
from repro.values import replace

POLL_S = 0.2
_INTERRUPTED = 130

Signature = tuple[int, int, int] | None


def _read_directive(script: Script, name: str) -> Directive:
    try:
        text = script.path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"`{name}` cannot be read: {error.strerror}") from error
    directive = find_directive(text, where=name)
    if directive is None:
        raise UsageError(
            f"`{name}` does not say that repro runs it: it has no `# !source repro.run` and no `[tool.repro]`",
            hint=f"write `# !source repro.run` as its first line, or `repro source {name}`",
        )
    return directive


def make_edited_request(
    settled: RunRequest, path: str | os.PathLike[str], assignments: Sequence[str], *, cwd: Path
) -> RunRequest:
    """Return what runs a script as its text says; `settled` and `assignments` win over it. Raises ReproError."""
    name = os.fspath(path)
    script = find_script(path, cwd=cwd)
    directive = _read_directive(script, name)
    values = dict(directive.parameters) | parse_assignments(assignments)
    return replace(
        settled,
        uri=str(script.project_dir),
        entry_point=script.entry_point,
        parameters=tuple(f"{key}={value}" for key, value in values.items()),
        restore=settled.restore or (directive.restore and settled.env_manager is None) or None,
        snapshot=settled.snapshot and directive.snapshot,
        observe=settled.observe and directive.observe,
        python=settled.python or directive.python,
    )


def sign(path: Path) -> Signature:
    """Return what changes with each save of a file, None where it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def wait_for_save(
    path: Path,
    seen: Signature,
    *,
    sleep: Callable[[float], None] = time.sleep,
    look: Callable[[Path], Signature] = sign,
) -> None:
    """Return when a file is there, is not as it was `seen`, and has stood still for a moment.

    An editor may write it in pieces, or take it away and put another in its place.
    """
    before = look(path)
    while True:
        sleep(POLL_S)
        now = look(path)
        if now is not None and now != seen and now == before:
            return
        before = now


def watch(
    path: Path,
    run: Callable[[], int],
    *,
    show: Callable[[ReproError], None],
    wait: Callable[[Path, Signature], None] = wait_for_save,
) -> int:
    """Call `run` now and after each save of `path`, one at a time; return the exit code of one that ctrl-C has ended.

    A save while it runs is run when that has ended, the last one only: what is being trained is not thrown away. What
    is wrong with the script is shown, and waits for the next save.
    """
    while True:
        seen = sign(path)
        try:
            if run() == _INTERRUPTED:
                return _INTERRUPTED
        except ReproError as error:
            show(error)
        wait(path, seen)
