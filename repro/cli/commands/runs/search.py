"""`repro runs search`."""

from __future__ import annotations

from repro.cli.commands.runs.listing import add_search_options, show_search
from repro.cli.options import make_parser

_EXAMPLES = """\
  repro runs search "metrics.rmse < 0.8"
  repro runs search "params.model LIKE 'tree%' and tags.team = 'x'" --order-by "metrics.rmse ASC" -n 5
  repro runs search "attributes.status = 'FAILED'" -x wine --json
"""


def run(arguments: list[str]) -> int:
    """Search runs."""
    parser = make_parser("runs search", "List the runs that a filter finds.", _EXAMPLES)
    parser.add_argument("filter", metavar="FILTER", help="MLflow's filter (docs/tracking.md)")
    add_search_options(parser)
    options = parser.parse_args(arguments)
    return show_search(options, options.filter)
