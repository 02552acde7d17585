"""`repro runs show`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_table import describe_run, draw_sparkline, format_duration, format_number, format_time
from repro.cli.run_words import add_store, get_run, open_given_store
from repro.errors import ExitCode
from repro.tracking.entities import Artifact, Run
from repro.tracking.store import Store

_EXAMPLES = """\
  repro runs show 5f0c91e2                 a run by the beginning of its id
  repro runs show first --json             by its name, everything as JSON
"""
_SHOWN_LINE = 100


def _list_all_artifacts(store: Store, run_id: str, path: str = "") -> list[Artifact]:
    found = []
    for artifact in store.list_artifacts(run_id, path):
        found += _list_all_artifacts(store, run_id, artifact.path) if artifact.is_dir else [artifact]
    return found


def _shorten(text: str) -> str:
    line = text.replace("\n", " ")
    return line if len(line) <= _SHOWN_LINE else line[: _SHOWN_LINE - 1] + "…"


def _show_head(run: Run) -> None:
    info = run.info
    end = f", took {format_duration(info.end_time_ms - info.start_time_ms)}" if info.end_time_ms is not None else ""
    deleted = ", deleted" if info.lifecycle_stage != "active" else ""
    console.say(console.escape(f"{info.run_name} ({run.run_id}): {info.status}{deleted}"))
    started = f"started {format_time(info.start_time_ms)}{end}, experiment {info.experiment_id}, by {info.user_id}"
    console.say(console.escape(started))


def _show_parts(store: Store, run: Run) -> None:
    data = run.data
    if data.params:
        console.say("")
        console.show_table(["parameter", "value"], [[key, _shorten(value)] for key, value in data.params.items()])
    if data.points:
        rows = []
        for key, point in data.points.items():
            history = store.get_metric_history(run.run_id, key)
            course = draw_sparkline(history) if len(history) > 1 else ""
            rows.append([key, format_number(point.value), str(point.step), str(len(history)), course])
        console.say("")
        console.show_table(["metric", "latest", "step", "points", "course"], rows)
    if data.tags:
        console.say("")
        console.show_table(["tag", "value"], [[key, _shorten(value)] for key, value in data.tags.items()])
    if run.datasets:
        console.say("")
        rows = [[each.name, each.digest, each.source_type, _shorten(each.source)] for each in run.datasets]
        console.show_table(["dataset", "digest", "kind", "source"], rows)


def run(arguments: list[str]) -> int:
    """Show one run."""
    parser = make_parser("runs show", "Show one run with everything that was logged to it.", _EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or its name")
    add_store(parser)
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    found = get_run(store, options.run)
    artifacts = _list_all_artifacts(store, found.run_id)
    if options.json:
        console.show_json({**describe_run(found), "artifacts": [each.path for each in artifacts]})
        return ExitCode.DONE
    _show_head(found)
    _show_parts(store, found)
    if artifacts:
        console.say("")
        console.show_table(["artifact", "bytes"], [[each.path, str(each.size_bytes)] for each in artifacts])
    return ExitCode.DONE
