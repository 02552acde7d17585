"""Options that several commands share, and the machine they describe."""

from __future__ import annotations

import argparse
from functools import cache

from repro import settings
from repro.cli import console
from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from repro.environments.machine import Machine
    from repro.snapshots.indexes import Indexes
    from repro.snapshots.sweep import SweepAhead


@cache
def _find_width() -> int:
    return min(settings.get_columns(settings.own_environment()), 120) - 2


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """argparse asks for a formatter at every option, and each asks shutil for the width, which imports compressors."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_find_width())


class Parser(argparse.ArgumentParser):
    """A parser whose errors look like all others of repro."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, hint=f"`{self.prog} --help` shows how")


def make_parser(command: str, description: str, examples: str) -> Parser:
    """Return a parser with the options of every command; `examples` stand below its help."""
    parser = Parser(
        prog=f"repro {command}",
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("-v", "--verbose", action="store_true", help="echo each command that is run (MLFLOW_VERBOSE)")
    return parser


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add `--cache`."""
    parser.add_argument(
        "--cache", metavar="DIR", help="where environments are kept, in DIR/repro (default: MLFLOW_SNAPSHOT_CACHE)"
    )


def add_python(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add `--python`."""
    parser.add_argument("--python", metavar="PATH", help=meaning)


def add_indexes(parser: argparse.ArgumentParser) -> None:
    """Add what names indexes, as pip does."""
    parser.add_argument("--index-url", metavar="URL", help="the index to ask (default: pip's and uv's configuration)")
    parser.add_argument("--extra-index-url", action="append", default=[], metavar="URL", help="one more (repeatable)")
    parser.add_argument("--find-links", action="append", default=[], metavar="PLACE", help="files (repeatable)")


def _find_given_indexes(arguments: argparse.Namespace) -> Indexes | None:
    named = (
        getattr(arguments, "index_url", None),
        getattr(arguments, "extra_index_url", None),
        getattr(arguments, "find_links", None),
    )
    if not any(named):
        return None
    from repro.snapshots.indexes import Indexes

    default, extra, links = named
    return Indexes(default_url=default, extra_urls=tuple(extra or ()), find_links=tuple(links or ()))


def make_machine(
    arguments: argparse.Namespace,
    *,
    report: Callable[[str], None] | None = None,
    ahead: SweepAhead | None = None,
) -> Machine:
    """Return the machine the options describe, with what was begun `ahead`."""
    from repro.environments.machine import Machine

    environ = settings.own_environment()
    machine = Machine.here(
        cache=getattr(arguments, "cache", None),
        environ=environ,
        echo=console.echo if arguments.verbose or settings.is_verbose(environ) else None,
        report=report or console.note,
        indexes=_find_given_indexes(arguments),
        ahead=ahead,
    )
    machine.store.announce = console.note
    return machine
