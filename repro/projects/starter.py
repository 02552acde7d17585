"""Make a directory a project: a `.gitignore` line, tasks for VS Code, a hook for commits; its lock is a snapshot.

First planned, then written: what is there already stays as it is, so a second time changes nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from repro.errors import ReproError, UsageError
from repro.files import overwrite
from repro.formats.jsonc import append_items, parse_jsonc
from repro.formats.precommit_config import add_hook
from repro.process import Runner
from repro.values import frozen

_RUNS = ("mlruns", "mlruns/", "/mlruns", "/mlruns/")
_HOOK_MARK = "repro snapshot --check"


@frozen
class Change:
    """What a file is to hold, `before` being what it holds: None for one that is not there."""

    path: Path
    before: str | None
    after: str
    executable: bool = False

    @property
    def deed(self) -> str:
        """What becomes of the file."""
        if self.before is None:
            return "new"
        return "unchanged" if self.before == self.after else "changed"


def _read(path: Path) -> str | None:
    """Return a file's text, its line ends as they are. Raises ReproError."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReproError(f"`{path}` cannot be read: {error.strerror}") from error


def ignore_runs(before: str | None) -> str:
    """Return a `.gitignore` that leaves the directory of runs out."""
    text = before or ""
    if any(line.strip() in _RUNS for line in text.splitlines()):
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    return f"{text}{end if text and not text.endswith(chr(10)) else ''}mlruns/{end}"


def _make_task(label: str, *args: str, **more: object) -> dict[str, object]:
    return {
        "label": label,
        "type": "shell",
        "command": "repro",
        "args": list(args),
        "options": {"cwd": "${workspaceFolder}"},
        "problemMatcher": [],
        **more,
    }


TASKS = (
    _make_task("repro: run this file", "exec", "${file}"),
    _make_task("repro: run this file at each save", "watch", "${file}", isBackground=True),
    _make_task("repro: status", "status"),
    _make_task("repro: snapshot", "snapshot"),
)


def add_tasks(before: str | None, *, where: str) -> str:
    """Return a `tasks.json` that has our tasks; one of the same label stays as it is. Raises ProjectError."""
    text = before or ""
    content = parse_jsonc(text, where=where)
    if not content and not text.strip():
        text = '{\n    "version": "2.0.0"\n}\n'
    listed = content.get("tasks")
    there = {task.get("label") for task in listed if isinstance(task, dict)} if isinstance(listed, list) else set()
    missing = [task for task in TASKS if task["label"] not in there]
    return append_items(text, "tasks", missing, where=where) if missing else text


def _find_git(directory: Path, runner: Runner, environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the top of the work tree and the directory of its hooks. Raises UsageError."""
    try:
        done = runner.capture(
            ["git", "-C", str(directory), "rev-parse", "--show-toplevel", "--git-path", "hooks"], env=environ
        )
    except OSError as error:
        raise UsageError(f"git cannot be started: {error.strerror}") from error
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != 2:
        raise UsageError(f"`{directory}` is in no git repository", hint="`git init`, then once more")
    return Path(lines[0]), Path(os.path.normpath(directory.resolve() / lines[1]))


def _plan_hook(directory: Path, runner: Runner, environ: Mapping[str, str]) -> Change:
    """Plan a hook: in pre-commit's configuration where there is one, else git's own. Raises UsageError and others."""
    top, hooks = _find_git(directory, runner, environ)
    below = os.path.relpath(directory.resolve(), top.resolve())
    command = _HOOK_MARK if below == "." else f"{_HOOK_MARK} {shlex.quote(below)}"
    config = top / ".pre-commit-config.yaml"
    if (text := _read(config)) is not None:
        return Change(path=config, before=text, after=add_hook(text, command, where=str(config)))
    path = hooks / "pre-commit"
    before = _read(path)
    if before is not None and _HOOK_MARK not in before:
        raise UsageError(f"there is a hook already: `{path}`", hint=f"add the line `{command} || exit 1` to it")
    made = f"#!/bin/sh\n# From `repro init --pre-commit`: the lock must be that of the environment.\nexec {command}\n"
    return Change(path=path, before=before, after=before or made, executable=True)


def plan_starter(
    directory: Path, *, vscode: bool, pre_commit: bool, runner: Runner, environ: Mapping[str, str]
) -> tuple[Change, ...]:
    """Return what each file of a starter is to hold. Raises ReproError, before anything is written."""
    ignored = directory / ".gitignore"
    before = _read(ignored)
    changes = [Change(path=ignored, before=before, after=ignore_runs(before))]
    if vscode:
        tasks = directory / ".vscode" / "tasks.json"
        before = _read(tasks)
        changes.append(Change(path=tasks, before=before, after=add_tasks(before, where=str(tasks))))
    if pre_commit:
        changes.append(_plan_hook(directory, runner, environ))
    return tuple(changes)


def write_change(change: Change) -> None:
    """Write a file where it is to hold something else. Raises ReproError."""
    if change.before == change.after:
        return
    try:
        change.path.parent.mkdir(parents=True, exist_ok=True)
        overwrite(change.path, change.after.encode("utf-8", "surrogateescape"))
        if change.executable:
            change.path.chmod(0o755)
    except OSError as error:
        raise ReproError(f"`{change.path}` cannot be written: {error.strerror}") from error
