"""`repro runs reap`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.period import parse_period
from repro.cli.run_words import add_store, open_given_store
from repro.errors import ExitCode
from repro.tracking.clock import now_ms
from repro.tracking.reap import reap_runs

_EXAMPLES = """\
  repro runs reap --dry-run                what says RUNNING, and whether its process is there
  repro runs reap                          end what has no process
  repro runs reap --older-than 7d          also what cannot be looked at and has said nothing for so long
"""


def run(arguments: list[str]) -> int:
    """End runs whose process is gone."""
    parser = make_parser("runs reap", "End the runs that say RUNNING and whose process is gone, as KILLED.", _EXAMPLES)
    parser.add_argument("--older-than", metavar="PERIOD", help="also those of other hosts that are silent so long")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be ended")
    add_store(parser)
    options = parser.parse_args(arguments)
    older_than_ms = round(parse_period(options.older_than) * 1000) if options.older_than is not None else None
    store = open_given_store(options.store)
    found = reap_runs(store, now_ms=now_ms(), older_than_ms=older_than_ms, dry_run=options.dry_run)
    if options.json:
        console.show_json({"dry_run": options.dry_run, "runs": [each.to_dict() for each in found]})
        return ExitCode.DONE
    rows = [
        [each.run.run_id[:8], each.run.info.run_name, "ended" if each.verdict.is_end else "left", each.verdict.value]
        for each in found
    ]
    if rows:
        console.show_table(["run", "name", "would be" if options.dry_run else "", "why"], rows)
    else:
        console.note("no run says RUNNING")
    return ExitCode.DONE
