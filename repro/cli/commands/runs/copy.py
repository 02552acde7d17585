"""`repro runs copy`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_words import get_run, list_experiment_ids, open_given_store
from repro.errors import ExitCode, UsageError
from repro.tracking.copy import CopiedRun, copy_runs
from repro.tracking.entities import RunQuery
from repro.tracking.paging import find_runs

_EXAMPLES = """\
  repro runs copy 5f0c91e2 --to https://mlflow.example.org
  repro runs copy -x wine --from https://mlflow.example.org --to ./mlruns
"""


def _say(run: CopiedRun) -> None:
    state = "copied" if run.is_new else "brought up to date" if run.points or run.artifacts else "was there"
    console.say(f"{run.source_id[:8]} {state} as {run.run_id}: {run.points} points, {run.artifacts} artifacts")
    for sentence in run.notes:
        console.warn(sentence)


def run(arguments: list[str]) -> int:
    """Copy runs from one store to another."""
    description = "Copy runs between directories and servers, with artifacts and snapshot; what is there already stays."
    parser = make_parser("runs copy", description, _EXAMPLES)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids, beginnings of ids, or names")
    parser.add_argument("-x", "--experiment", action="append", default=[], metavar="NAME|ID", help="all of its runs")
    parser.add_argument("--from", dest="source", metavar="URI", help="where they are (default: MLFLOW_TRACKING_URI)")
    parser.add_argument("--to", required=True, metavar="URI", help="where they go: a directory or a server")
    options = parser.parse_args(arguments)
    if not options.runs and not options.experiment:
        raise UsageError("no run is named", hint="repro runs copy RUN --to URI, or -x NAME for all of an experiment")
    source, target = open_given_store(options.source), open_given_store(options.to)
    if source.uri == target.uri:
        raise UsageError(f"the runs are in `{target.uri}` already", hint="`--from URI` and `--to URI` name two stores")
    run_ids = [get_run(source, word).run_id for word in options.runs]
    if options.experiment:
        query = RunQuery(experiment_ids=list_experiment_ids(source, options.experiment))
        run_ids += [each.run_id for each in find_runs(source, query)]
    with console.Progress(quiet=True) as progress:
        result = copy_runs(list(dict.fromkeys(run_ids)), source=source, target=target, on_step=progress)
    if options.json:
        console.show_json(result.to_dict())
    for each in result.runs if not options.json else ():
        _say(each)
    return ExitCode.DONE
