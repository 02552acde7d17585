"""`repro exec`."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_options import add_run_options, make_settled
from repro.cli.script_run import run_request
from repro.projects.edited import make_edited_request
from repro.projects.request import RunRequest

_EXAMPLES = """\
  repro exec train.py                     a file with the line `# !source repro.run(alpha=0.5)`
  repro exec train.py -P alpha=0.7        other parameters than the file names
"""


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the file, and what wins over what it says itself."""
    parser.add_argument("file", metavar="FILE", help="a script that says how it is run")
    parser.add_argument(
        "-P", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter (repeatable)"
    )
    add_run_options(parser)


def make_request(options: argparse.Namespace) -> RunRequest:
    """Return what runs the file as it says now."""
    return make_edited_request(make_settled(options), options.file, options.param, cwd=Path.cwd())


def run(arguments: list[str]) -> int:
    """Run a file as its own text says; the exit code is the script's."""
    parser = make_parser("exec", "Run a script as its own text says: `# !source repro.run`.", _EXAMPLES)
    add_file_options(parser)
    options = parser.parse_args(arguments)
    result = run_request(options, make_request(options))
    if options.json:
        console.show_json(result.to_dict())
    return result.exit_code
