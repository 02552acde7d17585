"""Magics for IPython and Jupyter (`%load_ext repro`): `%repro ARGS` and `%%repro_run`.

Both start repro as a process of its own, with the kernel's interpreter: nothing of the kernel changes.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repro import settings
from repro.errors import ReproError
from repro.files import remove_tree, write_atomically
from repro.formats.lockfile import FILE_NAME
from repro.process import Runner

CELL = "cell.py"
_ENDED = re.compile(r"=== Run \(ID '([0-9a-f]{32})'\) (\w+) ===")


def _start(words: Sequence[str]) -> tuple[int, str]:
    """Run a command of repro on the kernel's interpreter, hand on what it writes; return its code and its messages."""
    messages: list[str] = []

    def say(text: str) -> None:
        messages.append(text)
        sys.stderr.write(text)

    code = Runner().relay(
        [settings.own_python(), "-m", "repro", *words],
        env=settings.prefer_python(settings.own_environment(), settings.own_python()),
        stdout=sys.stdout.write,
        stderr=say,
    )
    return code, "".join(messages)


def _refuse(message: str) -> Exception:
    """Return IPython's error for what stops the cells below, shown without a traceback."""
    from IPython.core.error import UsageError

    error: Exception = UsageError(message)
    return error


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise _refuse(f"`{line}` cannot be split into words: {error}") from None


def run_line(line: str) -> None:
    """Run `%repro ARGS`: any command of repro."""
    words = _split(line)
    code, _ = _start(words)
    if code:
        raise _refuse(f"`repro {line}` ended with exit code {code}")


def _check_cell(cell: str) -> None:
    try:
        ast.parse(cell)
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        raise _refuse(f"the cell is not plain Python, without `%` and `!`: {line}") from None


def _format_project(cell: Path, notebook_dir: str) -> str:
    """Return an MLproject that runs the cell in the notebook's directory, whose modules it can import."""
    from repro.formats.fields import dump_mapping

    place, script = (shlex.quote(each).replace("{", "{{").replace("}", "}}") for each in (notebook_dir, str(cell)))
    path = f'PYTHONPATH="${{{{PYTHONPATH:+$PYTHONPATH:}}}}"{place}'
    command = f'cd {place} && {path} "$MLFLOW_PYTHON_BIN" {script}'
    return dump_mapping({"name": "notebook", "entry_points": {"cell": {"command": command}}})


@contextmanager
def _make_project(cell: str) -> Iterator[Path]:
    """Have a project with the cell as its only script, and with the lock of the notebook's directory."""
    directory = Path(tempfile.mkdtemp(prefix="repro-cell-"))
    try:
        write_atomically(directory / CELL, cell)
        write_atomically(directory / "MLproject", _format_project(directory / CELL, os.getcwd()))
        if os.path.isfile(FILE_NAME):
            shutil.copyfile(FILE_NAME, directory / FILE_NAME)
        yield directory
    finally:
        remove_tree(directory)


def _keep_cell(run_id: str, cell: str) -> None:
    """Keep the cell's code with its run; failing to is a message."""
    from repro.tracking.client import Client

    try:
        Client().log_text(run_id, cell, CELL)
    except (ReproError, OSError) as error:
        print(f"warning: the cell's code could not be kept: {error}", file=sys.stderr)


def run_cell(line: str, cell: str) -> str:
    """Run `%%repro_run [-P NAME=VALUE] ...`: a cell as a tracked run. Return the run's id; one that fails raises."""
    words = _split(line)
    _check_cell(cell)
    with _make_project(cell) as directory:
        code, messages = _start(["run", str(directory), "-e", "cell", *words])
    ended = _ENDED.findall(messages)
    if not ended:
        raise _refuse(f"no run was started: exit code {code}")
    run_id, status = ended[-1]
    _keep_cell(run_id, cell)
    if code:
        raise _refuse(f"the run `{run_id}` {status}: exit code {code}")
    return str(run_id)


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to an IPython shell (`%load_ext repro`)."""
    shell.register_magic_function(run_line, magic_kind="line", magic_name="repro")
    shell.register_magic_function(run_cell, magic_kind="cell", magic_name="repro_run")
