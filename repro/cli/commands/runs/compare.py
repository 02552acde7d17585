"""`repro runs compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from repro.cli import console
from repro.cli.drift_table import show_drift
from repro.cli.options import make_parser
from repro.cli.run_table import describe_run, format_duration, format_number, format_time
from repro.cli.run_words import add_store, get_run, open_given_store
from repro.errors import ExitCode, ReproError, UsageError
from repro.formats.lockfile import FILE_NAME, Snapshot, parse_snapshot
from repro.snapshots.drift import Drift, compare
from repro.tracking.entities import Run
from repro.tracking.store import Store, find_text

_EXAMPLES = """\
  repro runs compare 5f0c91e2 a2b84c6f     parameters, metrics, code and environment side by side
  repro runs compare first second third --json
"""
_CODE_TAGS = (
    "mlflow.source.name", "mlflow.source.git.commit", "mlflow.source.git.branch", "mlflow.source.git.dirty",
    "mlflow.project.entryPoint", "repro.snapshot.python", "repro.restored",
)  # fmt: skip


def _find_snapshot(store: Store, run: Run) -> Snapshot | None:
    text = find_text(store, run.run_id, FILE_NAME)
    try:
        return parse_snapshot(text, where=f"{FILE_NAME} of run {run.run_id}") if text else None
    except ReproError as error:
        console.warn(error.message)
        return None


def _make_rows(runs: Sequence[Run], get: Callable[[Run], dict[str, str]]) -> list[list[str]]:
    """Return a row for each key of any run, those that differ marked and first."""
    columns = [get(run) for run in runs]
    keys = sorted({key for column in columns for key in column})
    rows = []
    for key in keys:
        cells = [column.get(key, "-") for column in columns]
        rows.append(["" if len(set(cells)) == 1 else "*", key, *cells])
    return sorted(rows, key=lambda row: row[0] != "*")


def _describe_infos(run: Run) -> dict[str, str]:
    info = run.info
    took = {"took": format_duration(info.end_time_ms - info.start_time_ms)} if info.end_time_ms is not None else {}
    return {"status": str(info.status), "started": format_time(info.start_time_ms), **took}


def _compare_environments(store: Store, runs: Sequence[Run]) -> list[Drift | None]:
    """Return what differs between the first run's environment and each other's; None where one has no snapshot."""
    first, *others = [_find_snapshot(store, run) for run in runs]
    return [compare(first, other) if first and other else None for other in others]


def _show(runs: Sequence[Run], drifts: Sequence[Drift | None]) -> None:
    names = [console.escape(f"{run.info.run_name} ({run.run_id[:8]})") for run in runs]
    parts: list[tuple[str, Callable[[Run], dict[str, str]]]] = [
        ("run", _describe_infos),
        ("parameter", lambda run: dict(run.data.params)),
        ("metric", lambda run: {key: format_number(point.value) for key, point in run.data.points.items()}),
        ("code", lambda run: {key: run.data.tags[key] for key in _CODE_TAGS if key in run.data.tags}),
    ]
    for title, get in parts:
        rows = _make_rows(runs, get)
        if rows:
            console.show_table(["", title, *names], rows)
            console.say("")
    for name, drift in zip(names[1:], drifts, strict=True):
        if drift is None:
            console.say(f"environment of {name}: not known, a run has no snapshot")
        elif drift:
            console.say(f"environment of {name}, beside that of {names[0]}:")
            show_drift(drift, before=names[0], after=name)
        else:
            console.say(f"environment of {name}: no difference")


def run(arguments: list[str]) -> int:
    """Compare runs; exit 0 whatever differs."""
    parser = make_parser(
        "runs compare", "Show runs side by side: `*` marks what differs; environments by class.", _EXAMPLES
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="two or more: ids, beginnings of ids, or names")
    add_store(parser)
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        raise UsageError("one run cannot be compared", hint="repro runs compare A B")
    store = open_given_store(options.store)
    runs = [get_run(store, word) for word in options.runs]
    drifts = _compare_environments(store, runs)
    if options.json:
        environments = [None if drift is None else {"equal": not drift, **drift.to_dict()} for drift in drifts]
        console.show_json({"runs": [describe_run(each) for each in runs], "environments": environments})
    else:
        _show(runs, drifts)
    return ExitCode.DONE
