"""`repro artifacts`."""

from __future__ import annotations

from pathlib import Path

from repro.cli import console
from repro.cli.deeds import Deeds
from repro.cli.options import Parser, make_parser
from repro.cli.run_words import add_store, get_run, open_given_store
from repro.errors import ExitCode, TrackingNotFoundError
from repro.tracking.wire import format_artifact


def _make_parser(deed: str, description: str, examples: str) -> Parser:
    parser = make_parser(f"artifacts {deed}", description, examples)
    parser.add_argument("run", metavar="RUN", help="the run's id, the beginning of it, or its name")
    add_store(parser)
    return parser


def _list(arguments: list[str]) -> int:
    examples = "  repro artifacts list 5f0c91e2\n  repro artifacts list 5f0c91e2 model --json\n"
    parser = _make_parser("list", "List what lies in a directory of a run's artifacts.", examples)
    parser.add_argument("path", nargs="?", default="", metavar="PATH", help="the directory (default: all of them)")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    run = get_run(store, options.run)
    found = store.list_artifacts(run.run_id, options.path)
    if options.json:
        console.show_json({"root_uri": run.info.artifact_uri, "files": [format_artifact(each) for each in found]})
        return ExitCode.DONE
    console.note(run.info.artifact_uri)
    rows = [[each.path + ("/" if each.is_dir else ""), str(each.size_bytes or "")] for each in found]
    if rows:
        console.show_table(["path", "bytes"], rows)
    return ExitCode.DONE


def _log(arguments: list[str]) -> int:
    examples = "  repro artifacts log 5f0c91e2 plot.png\n  repro artifacts log 5f0c91e2 results/ --to reports\n"
    parser = _make_parser("log", "Keep files or directories with a run.", examples)
    parser.add_argument("paths", nargs="+", metavar="FILE", help="a file, or a directory with its content")
    parser.add_argument("--to", default="", metavar="DIR", help="the directory among the artifacts")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    run = get_run(store, options.run)
    missing = [path for path in options.paths if not Path(path).exists()]
    if missing:
        raise TrackingNotFoundError(f"there is no file `{missing[0]}` to keep")
    for path in options.paths:
        store.log_artifact(run.run_id, Path(path), options.to)
    store.flush()
    if options.json:
        found = store.list_artifacts(run.run_id, options.to)
        console.show_json({"root_uri": run.info.artifact_uri, "files": [format_artifact(each) for each in found]})
    return ExitCode.DONE


def _download(arguments: list[str]) -> int:
    examples = "  repro artifacts download 5f0c91e2\n  repro artifacts download 5f0c91e2 model --to models/\n"
    parser = _make_parser("download", "Copy artifacts to a directory and print where they are.", examples)
    parser.add_argument("path", nargs="?", default="", metavar="PATH", help="a file or directory (default: all)")
    parser.add_argument("--to", default=".", metavar="DIR", help="the directory, made where it is missing (.)")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    run = get_run(store, options.run)
    target = Path(options.to).absolute()
    target.mkdir(parents=True, exist_ok=True)
    place = store.download_artifacts(run.run_id, options.path, target)
    if options.json:
        console.show_json({"path": str(place)})
    else:
        console.say(str(place))
    return ExitCode.DONE


DEEDS = Deeds(
    command="artifacts",
    summary="Look at the artifacts of a run, keep more, and copy them.",
    deeds={
        "list": (_list, "what lies in a directory of them"),
        "log": (_log, "keep files or directories with a run"),
        "download": (_download, "copy a file or directory, and print where it is"),
    },
)
run = DEEDS.run
