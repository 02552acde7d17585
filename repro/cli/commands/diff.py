"""`repro diff`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.drift_table import show_drift
from repro.cli.options import make_parser
from repro.errors import ExitCode
from repro.snapshots.drift import compare
from repro.snapshots.load import load_lock

_EXAMPLES = """\
  repro diff old/requirements-lock.txt new/requirements-lock.txt
  repro diff projectA projectB --json
"""


def run(arguments: list[str]) -> int:
    """Compare two locks; exit 1 where they differ."""
    parser = make_parser("diff", "Say what differs between two locks.", _EXAMPLES)
    parser.add_argument("before", metavar="A", help="a lock, or the directory of one")
    parser.add_argument("after", metavar="B", help="the other")
    options = parser.parse_args(arguments)
    before, after = load_lock(options.before), load_lock(options.after)
    drift = compare(before.snapshot, after.snapshot)
    for sentence in (*before.notes, *after.notes):
        console.warn(sentence)
    if options.json:
        console.show_json({"before": str(before.path), "after": str(after.path), "equal": not drift, **drift.to_dict()})
    elif drift:
        show_drift(drift, before="before", after="after")
    else:
        console.say("no difference")
    return ExitCode.NO if drift else ExitCode.DONE
