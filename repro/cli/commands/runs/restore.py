"""`repro runs restore`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_words import add_store, get_run, open_given_store
from repro.errors import ExitCode

_EXAMPLES = """\
  repro runs restore 5f0c91e2
  repro runs restore 5f0c91e2 a2b84c6f --json
"""


def run(arguments: list[str]) -> int:
    """Make deleted runs active again."""
    parser = make_parser("runs restore", "Make deleted runs active again.", _EXAMPLES)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="its id, the beginning of it, or its name")
    add_store(parser)
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    found = [get_run(store, word) for word in options.runs]
    for each in found:
        store.restore_run(each.run_id)
    if options.json:
        console.show_json({"restored": [each.run_id for each in found]})
    for each in found if not options.json else ():
        console.say(console.escape(f"restored {each.info.run_name} ({each.run_id})"))
    return ExitCode.DONE
