"""`repro source`."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_options import add_run_options, make_settled
from repro.cli.script_run import run_request
from repro.projects.script_source import make_source_request

_EXAMPLES = """\
  repro source train.py --alpha 0.5       as `repro run . -e train.py -P alpha=0.5`
  repro source --restore train.py         options of repro stand before the file
"""


def run(arguments: list[str]) -> int:
    """Run a script with its own command line as a tracked run; the exit code is its own."""
    parser = make_parser("source", "Run a script, with its own command line, as a tracked run.", _EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="a .py, .sh or .R file")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="the script's own arguments")
    add_run_options(parser)
    options = parser.parse_args(arguments)
    result = run_request(
        options, make_source_request(make_settled(options), options.file, options.words, cwd=Path.cwd())
    )
    if options.json:
        console.show_json(result.to_dict())
    return result.exit_code
