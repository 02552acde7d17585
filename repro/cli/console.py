"""Speak to a person: results on stdout, all else on stderr. The only user of rich, and only where it is needed."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from repro.errors import ReproError

_YELLOW, _RED, _PLAIN = "\x1b[33m", "\x1b[31m", "\x1b[0m"


def _color(word: str, color: str) -> str:
    return f"{color}{word}{_PLAIN}" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else word


def say(text: str) -> None:
    """Print a line of the result."""
    print(text)


def note(text: str) -> None:
    """Print a line that is not the result."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning."""
    note(f"{_color('warning:', _YELLOW)} {text}")


def show_error(error: ReproError) -> None:
    """Print an error, its details and what mends it."""
    note(f"{_color('error:', _RED)} {error.message}")
    for detail in error.details:
        note(f"  {detail}")
    if error.hint:
        note(f"hint: {error.hint}")


def echo(command: str) -> None:
    """Print a command that is run (`-v`)."""
    note(f"+ {command}")


def show_json(content: object) -> None:
    """Print the one JSON document of a command."""
    import json

    print(json.dumps(content, indent=2))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table: drawn on a terminal, columns of text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=None, header_style="bold")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class Progress:
    """A listener for stages of long work: a spinner with the time on a terminal, plain lines elsewhere.

    It starts with the first stage, so that a command with nothing long to do imports no rich; a stage after `stop`
    starts it again. A `quiet` one writes no plain lines.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stop: Callable[[], None] | None = None
        self._update: Callable[[str], None] | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __call__(self, stage: str) -> None:
        """Show a stage."""
        if not sys.stderr.isatty():
            if not self._quiet:
                note(stage)
            return
        if self._update is None:
            self._start(stage)
        else:
            self._update(stage)

    def _start(self, stage: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        bar = Bar(*columns, console=Console(stderr=True), transient=True)
        task = bar.add_task(stage, total=None)
        bar.start()
        self._stop = bar.stop
        self._update = lambda text: bar.update(task, description=text)

    def stop(self) -> None:
        """Take the spinner away, so that others may write."""
        if self._stop:
            self._stop()
        self._stop = self._update = None
