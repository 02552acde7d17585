"""Speak to a person: results on stdout, all else on stderr. The only user of rich, and only where it is needed."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from repro.errors import ReproError

_YELLOW, _RED, _PLAIN = "\x1b[33m", "\x1b[31m", "\x1b[0m"


def open_streams() -> None:
    """Give a closed stream a place: what is opened next would take its number. What cannot be encoded is escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)  # or a command would find it closed
            setattr(sys, name, open(descriptor, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    if sys.stdout.errors == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what is left of the result. Raises OSError."""
    sys.stdout.flush()


def settle() -> None:
    """Give up what a stream cannot take, so that Python does not complain of it at its own end."""
    _settle(sys.stdout)
    _settle(sys.stderr)


def _settle(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _color(word: str, color: str) -> str:
    return f"{color}{word}{_PLAIN}" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else word


def say(text: str) -> None:
    """Print a line of the result."""
    print(text)


def note(text: str) -> None:
    """Print a line that is not the result; where nobody can be told it, the result still counts."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return


def escape(text: str) -> str:
    """Return text from elsewhere without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)


def warn(text: str) -> None:
    """Print a warning."""
    note(f"{_color('warning:', _YELLOW)} {escape(text)}")


def show_error(error: ReproError) -> None:
    """Print an error, its details and what mends it."""
    note(f"{_color('error:', _RED)} {escape(error.message)}")
    for detail in error.details:
        note(f"  {escape(detail)}")
    if error.hint:
        note(f"hint: {escape(error.hint)}")


def echo(command: str) -> None:
    """Print a command that is run (`-v`)."""
    note(f"+ {command}")


def show_json(content: object) -> None:
    """Print the one JSON document of a command."""
    import json

    print(json.dumps(content, indent=2))


def _make_cell(text: str) -> str:
    return escape(text).replace("\n", "\\n").replace("\t", "\\t")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table: drawn on a terminal, columns of text elsewhere. What a terminal would obey is escaped."""
    columns, rows = [_make_cell(each) for each in columns], [[_make_cell(each) for each in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        table = Table(*(Column(Text(each)) for each in columns), box=None, header_style="bold")
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def get_width() -> int:
    """Return how many characters a line of the result may have; much where it is no terminal."""
    if not sys.stdout.isatty():
        return 160
    import shutil

    return shutil.get_terminal_size().columns


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


class LiveTable:
    """Lines and a table that are drawn again each second on a terminal, for as long as it is not stopped."""

    def __init__(self, draw: Callable[[], tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]]]) -> None:
        self._draw = draw
        self._stop: Callable[[], None] | None = None

    @property
    def is_possible(self) -> bool:
        """Whether stderr is a terminal."""
        return sys.stderr.isatty()

    def start(self) -> None:
        """Begin to draw, where it is not drawn already."""
        if self._stop or not self.is_possible:
            return
        from rich.console import Console, Group
        from rich.live import Live
        from rich.table import Column, Table
        from rich.text import Text

        def render() -> Group:
            lines, columns, rows = self._draw()
            table = Table(*(Column(Text(each)) for each in columns), box=None, header_style="bold")
            for row in rows:
                table.add_row(*(Text(_make_cell(each)) for each in row))
            return Group(*(Text(_make_cell(each)) for each in lines), table)

        live = Live(get_renderable=render, console=Console(stderr=True), refresh_per_second=1, transient=True)
        live.start(refresh=True)
        self._stop = live.stop

    def stop(self) -> None:
        """Take it away."""
        if self._stop:
            self._stop()
        self._stop = None
