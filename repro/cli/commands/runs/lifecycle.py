"""`repro runs delete` and `repro runs restore`."""

from __future__ import annotations

from collections.abc import Callable

from repro.cli import console
from repro.cli.options import make_parser
from repro.cli.run_words import add_store, get_run, open_given_store
from repro.errors import ExitCode
from repro.tracking.store import Store

Deed = Callable[[Store, str], None]


def _run(arguments: list[str], *, deed: str, done: str, description: str, change: Deed) -> int:
    """Find all the runs named, then do the deed to each."""
    examples = f"  repro runs {deed} 5f0c91e2\n  repro runs {deed} 5f0c91e2 a2b84c6f --json\n"
    parser = make_parser(f"runs {deed}", description, examples)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="its id, the beginning of it, or its name")
    add_store(parser)
    options = parser.parse_args(arguments)
    store = open_given_store(options.store)
    found = [get_run(store, word) for word in options.runs]
    for each in found:
        change(store, each.run_id)
    if options.json:
        console.show_json({done: [each.run_id for each in found]})
    for each in found if not options.json else ():
        console.say(console.escape(f"{done} {each.info.run_name} ({each.run_id})"))
    return ExitCode.DONE


def delete(arguments: list[str]) -> int:
    """Mark runs as deleted."""
    description = "Mark runs as deleted; `repro runs restore` brings them back."
    return _run(
        arguments,
        deed="delete",
        done="deleted",
        description=description,
        change=lambda store, id_: store.delete_run(id_),
    )


def restore(arguments: list[str]) -> int:
    """Make deleted runs active again."""
    description = "Make deleted runs active again."
    return _run(
        arguments, deed="restore", done="restored", description=description,
        change=lambda store, id_: store.restore_run(id_),
    )  # fmt: skip
