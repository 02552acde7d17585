"""`repro runs list`."""

from __future__ import annotations

import argparse

from repro.cli import console
from repro.cli.options import Parser, make_parser
from repro.cli.run_table import describe_run, make_run_table
from repro.cli.run_words import add_store, list_experiment_ids, open_given_store
from repro.errors import ExitCode, UsageError
from repro.tracking.entities import RunQuery, ViewType
from repro.tracking.paging import find_runs

_EXAMPLES = """\
  repro runs list                          the newest runs of all experiments
  repro runs list -x wine -n 50            of one experiment, more of them
  repro runs list --filter "metrics.rmse < 0.8 and params.alpha = '0.5'" --order-by "metrics.rmse"
  repro runs list --deleted --json
"""


def add_search_options(parser: Parser) -> None:
    """Add what a search may say beside its filter."""
    add_store(parser)
    parser.add_argument(
        "-x", "--experiment", action="append", default=[], metavar="NAME|ID", help="only its runs (repeatable)"
    )
    parser.add_argument(
        "--order-by", action="append", default=[], metavar="WHAT", help="e.g. `metrics.rmse ASC` (repeatable)"
    )
    parser.add_argument("-n", "--limit", type=int, default=20, metavar="N", help="at most so many (20; 0 for all)")
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--deleted", action="store_true", help="the deleted ones")
    views.add_argument("--all", action="store_true", help="the deleted ones too")


def show_search(options: argparse.Namespace, filter_: str) -> int:
    """Search and show what is found; exit 0 also where that is nothing."""
    if options.limit < 0:
        raise UsageError(f"`{options.limit}` is no number of runs", hint="-n 0 shows all")
    store = open_given_store(options.store)
    view = ViewType.DELETED_ONLY if options.deleted else ViewType.ALL if options.all else ViewType.ACTIVE_ONLY
    experiments = ViewType.ACTIVE_ONLY if view is ViewType.ACTIVE_ONLY else ViewType.ALL
    query = RunQuery(
        experiment_ids=list_experiment_ids(store, options.experiment, experiments),
        filter=filter_,
        view=view,
        order_by=tuple(options.order_by),
    )
    runs = find_runs(store, query, limit=options.limit or None)
    if options.json:
        console.show_json({"store": store.uri, "runs": [describe_run(run) for run in runs]})
    elif runs:
        console.show_table(*make_run_table(runs, width=console.get_width()))
    else:
        console.note(f"no runs in {store.uri}")
    return ExitCode.DONE


def run(arguments: list[str]) -> int:
    """List runs, the newest first."""
    parser = make_parser("runs list", "List runs, the newest first.", _EXAMPLES)
    parser.add_argument("--filter", default="", metavar="TEXT", help="MLflow's filter (docs/tracking.md)")
    add_search_options(parser)
    options = parser.parse_args(arguments)
    return show_search(options, options.filter)
