"""`repro run`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_options import add_project_options, make_run_request
from repro.cli.script_run import run_request

_EXAMPLES = """\
  repro run project/ -e train.py -P alpha=0.5
  repro run project/ --restore            in the environment of the project's lock, or of its conda.yaml and the like
  repro run project/ --restore --as-of 2021-06-30     what the index had on that day
  repro run project/ -e train.py --timeout 2h
  repro run https://example.org/wine.git#models --version v1.2 -e train.py
  repro run wine.zip                      a `.zip`, here or behind http(s)
  repro run RUN_ID                        a logged run again: its code, parameters and snapshot
"""


def run(arguments: list[str]) -> int:
    """Run an entry point; the exit code is its own."""
    parser = make_parser("run", "Run a project's entry point and keep the run with its snapshot.", _EXAMPLES)
    add_project_options(parser, parameter="a parameter (repeatable)")
    options = parser.parse_args(arguments)
    result = run_request(options, make_run_request(options, parameters=tuple(options.param)))
    if options.json:
        console.show_json(result.to_dict())
    return result.exit_code
