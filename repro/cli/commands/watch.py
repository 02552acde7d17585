"""`repro watch`."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import console
from repro.cli.commands.exec import add_file_options, make_request
from repro.cli.options import make_parser
from repro.cli.script_run import run_request
from repro.projects.edited import watch
from repro.projects.script import find_script

_EXAMPLES = """\
  repro watch train.py                    run it now, and again whenever it is saved, until ctrl-C
"""


def _run_once(options: argparse.Namespace) -> int:
    result = run_request(options, make_request(options))
    if options.json:
        console.show_json(result.to_dict())
        console.flush()
    console.note(f"waiting for the next save of {options.file} (ctrl-C ends)")
    return result.exit_code


def run(arguments: list[str]) -> int:
    """Run a file as its own text says, now and after each save, until ctrl-C."""
    parser = make_parser("watch", "Run a script as its own text says, again whenever it is saved.", _EXAMPLES)
    add_file_options(parser)
    options = parser.parse_args(arguments)
    script = find_script(options.file, cwd=Path.cwd())
    make_request(options)  # a file that is not to be run at all is refused now
    return watch(script.path, lambda: _run_once(options), show=console.show_error)
