"""`repro experiments`."""

from __future__ import annotations

from repro.cli import console
from repro.cli.deeds import Deeds
from repro.cli.options import Parser, make_parser
from repro.cli.run_table import format_time
from repro.cli.run_words import add_store, get_experiment, open_given_store
from repro.errors import ExitCode, UsageError
from repro.tracking.entities import ExperimentQuery, ViewType
from repro.tracking.paging import find_experiments
from repro.tracking.wire import format_experiment


def _make_parser(deed: str, description: str, examples: str, *, named: bool = True) -> Parser:
    parser = make_parser(f"experiments {deed}", description, examples)
    if named:
        parser.add_argument("experiment", metavar="NAME|ID", help="its name or its id")
    add_store(parser)
    return parser


def _list(arguments: list[str]) -> int:
    examples = "  repro experiments list\n  repro experiments list --filter \"name LIKE 'wine%'\" --json\n"
    parser = _make_parser("list", "List experiments, the newest first.", examples, named=False)
    parser.add_argument("--filter", default="", metavar="TEXT", help="MLflow's filter (docs/tracking.md)")
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--deleted", action="store_true", help="the deleted ones")
    views.add_argument("--all", action="store_true", help="the deleted ones too")
    options = parser.parse_args(arguments)
    view = ViewType.DELETED_ONLY if options.deleted else ViewType.ALL if options.all else ViewType.ACTIVE_ONLY
    store = open_given_store(options.store)
    found = find_experiments(store, ExperimentQuery(filter=options.filter, view=view))
    if options.json:
        console.show_json({"store": store.uri, "experiments": [format_experiment(each) for each in found]})
    elif found:
        rows = [
            [each.experiment_id, each.name, each.lifecycle_stage, format_time(each.creation_time_ms),
             each.artifact_location]
            for each in found
        ]  # fmt: skip
        console.show_table(["id", "name", "state", "made", "artifacts"], rows)
    else:
        console.note(f"no experiments in {store.uri}")
    return ExitCode.DONE


def _create(arguments: list[str]) -> int:
    examples = (
        "  repro experiments create wine\n  repro experiments create wine --artifact-location /data/wine --json\n"
    )
    parser = make_parser("experiments create", "Make an experiment and print its id.", examples)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--artifact-location", metavar="URI", help="where its runs keep artifacts (default: with them)")
    add_store(parser)
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    experiment_id = store.create_experiment(options.name, artifact_location=options.artifact_location)
    if options.json:
        console.show_json({"experiment_id": experiment_id})
    else:
        console.say(experiment_id)
    return ExitCode.DONE


def _rename(arguments: list[str]) -> int:
    parser = _make_parser("rename", "Give an experiment another name.", "  repro experiments rename wine red-wine\n")
    parser.add_argument("name", metavar="NEW_NAME")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    experiment = get_experiment(store, options.experiment)
    store.rename_experiment(experiment.experiment_id, options.name)
    if options.json:
        console.show_json({"experiment_id": experiment.experiment_id, "name": options.name})
    return ExitCode.DONE


def _delete(arguments: list[str]) -> int:
    description = "Mark an experiment and its runs as deleted; `repro experiments restore` brings them back."
    parser = _make_parser("delete", description, "  repro experiments delete wine\n")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    experiment = get_experiment(store, options.experiment)
    store.delete_experiment(experiment.experiment_id)
    if options.json:
        console.show_json({"deleted": experiment.experiment_id})
    else:
        console.say(console.escape(f"deleted {experiment.name} ({experiment.experiment_id})"))
    return ExitCode.DONE


def _restore(arguments: list[str]) -> int:
    parser = _make_parser("restore", "Make a deleted experiment active again.", "  repro experiments restore wine\n")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    experiment = get_experiment(store, options.experiment)
    store.restore_experiment(experiment.experiment_id)
    if options.json:
        console.show_json({"restored": experiment.experiment_id})
    else:
        console.say(console.escape(f"restored {experiment.name} ({experiment.experiment_id})"))
    return ExitCode.DONE


def _tag(arguments: list[str]) -> int:
    examples = "  repro experiments tag wine team=cellar\n  repro experiments tag wine team=\n"
    parser = _make_parser("tag", "Set tags of an experiment; a tag without a value is removed.", examples)
    parser.add_argument("tags", nargs="+", metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    experiment = get_experiment(store, options.experiment)
    for pair in options.tags:
        key, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"`{pair}` is no tag", hint="KEY=VALUE, or `KEY=` to remove it")
        if value:
            store.set_experiment_tag(experiment.experiment_id, key, value)
        else:
            store.delete_experiment_tag(experiment.experiment_id, key)
    if options.json:
        console.show_json(format_experiment(store.get_experiment(experiment.experiment_id)))
    return ExitCode.DONE


DEEDS = Deeds(
    command="experiments",
    summary="Look at experiments, make, name and delete them.",
    deeds={
        "list": (_list, "the experiments, the newest first"),
        "create": (_create, "make one and print its id"),
        "rename": (_rename, "give one another name"),
        "delete": (_delete, "mark one and its runs as deleted"),
        "restore": (_restore, "make a deleted one active again"),
        "tag": (_tag, "set or remove tags of one"),
    },
)
run = DEEDS.run
