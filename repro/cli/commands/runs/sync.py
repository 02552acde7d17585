"""`repro runs sync`."""

from __future__ import annotations

from pathlib import Path

from repro import settings
from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_words import add_store
from repro.errors import ExitCode
from repro.tracking.rest.sync import SyncedRun, SyncState, sync_outbox

_EXAMPLES = """\
  repro runs sync                          send what servers have not got yet
  repro runs sync --store https://mlflow.example.org --json
"""


def _say(run: SyncedRun) -> None:
    console.say(f"{run.local_id[:8]} {run.state}: {run.sent} sent, {run.waiting} waiting, {run.refused} refused")
    if run.reason:
        console.warn(run.reason)
    if run.state is SyncState.REFUSED:
        console.note(f"hint: what was refused, with the reasons, is in {run.refused_path}")


def run(arguments: list[str]) -> int:
    """Send what was kept while servers were away; exit 1 where something is left."""
    parser = make_parser("runs sync", "Send what was logged while a tracking server was away.", _EXAMPLES)
    add_store(parser)
    options = parser.parse_args(arguments)
    environ = settings.own_environment()
    result = sync_outbox(
        environ=environ, cwd=Path.cwd(), uri=options.store, on_run=(lambda run: None) if options.json else _say
    )
    if options.json:
        console.show_json(result.to_dict())
    elif not result.runs:
        console.note("nothing waits to be sent")
    return ExitCode.DONE if result.is_complete else ExitCode.NO
