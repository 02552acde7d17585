"""`repro runs delete`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_words import add_store, get_run, open_given_store
from repro.errors import ExitCode

_EXAMPLES = """\
  repro runs delete 5f0c91e2
  repro runs delete 5f0c91e2 a2b84c6f --json
"""


def run(arguments: list[str]) -> int:
    """Mark runs as deleted."""
    parser = make_parser("runs delete", "Mark runs as deleted; `repro runs restore` brings them back.", _EXAMPLES)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="its id, the beginning of it, or its name")
    add_store(parser)
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    found = [get_run(store, word) for word in options.runs]
    for each in found:
        store.delete_run(each.run_id)
    if options.json:
        console.show_json({"deleted": [each.run_id for each in found]})
    for each in found if not options.json else ():
        console.say(console.escape(f"deleted {each.info.run_name} ({each.run_id})"))
    return ExitCode.DONE
