"""`repro snapshot`: a look-up where the lock is known to be right, imported apart so that it costs next to nothing."""

from __future__ import annotations

import os

from repro import settings
from repro.cli import console
from repro.errors import ExitCode, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from repro.environments.machine import Machine
    from repro.environments.snapshot import Outcome
    from repro.formats.lockfile import Distribution

_EXAMPLES = """\
  repro snapshot                       lock the active environment into ./requirements-lock.txt
  repro snapshot project/ --python .venv/bin/python
  repro snapshot --used                lock only what the newest run has used, and what that requires
  repro snapshot -o - >lock.txt        write the lock to standard output
  repro snapshot --check               exit 1 where the lock would change, and write nothing
"""


def _find_plainly(arguments: list[str]) -> tuple[str, str] | None:
    """Return the lock's path and what was said of it, where the same environment gave it, for the options used most.

    argparse alone, and what a snapshot imports, would each double the time this takes.
    """
    rest, given = list(arguments), {}
    for option in ("--python", "--cache", "-o", "--output"):
        if option in rest[:-1]:
            at = rest.index(option)
            given[option] = rest[at + 1]
            del rest[at : at + 2]
    rest = [word for word in rest if word != "--check"]
    if len(rest) > 1 or any(word.startswith("-") for word in rest):
        return None
    directory = rest[0] if rest else "."
    path = given.get("-o") or given.get("--output") or os.path.join(directory, "requirements-lock.txt")
    environ = settings.own_environment()
    python = settings.choose_python(given.get("--python"), environ)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            lock = file.read()
    except OSError:
        return None
    said = _find_said(python, lock, project=os.path.dirname(path), cache=given.get("--cache"), environ=environ)
    return (path, said) if said else None


def _find_said(python: str, lock: bytes, *, project: str, cache: str | None, environ: dict[str, str]) -> str | None:
    from repro.environments.retake import find_take, list_options
    from repro.environments.store import Store, locate_store

    store = Store(locate_store(cache or settings.get_cache_dir(environ)))
    store.check()
    return find_take(store, python, lock=lock, options=list_options(environ, project, python=python), environ=environ)


def _say_again(path: str, said: str) -> None:
    *notes, content = said.splitlines()
    for note in notes:
        console.warn(note)
    console.say(f"{os.path.normpath(path)}: up to date: {content}")
    console.say("  nothing changed since the last lock")


def _format_said(outcome: Outcome) -> str:
    """Return what the next snapshot says of the lock where nothing has changed: notes, and its content last."""
    from repro.cli.lock_summary import format_content

    lines = (*outcome.notes, format_content(outcome.taken.snapshot))
    return "".join(" ".join(line.splitlines()) + "\n" for line in lines)


def _describe_entry(each: Distribution) -> dict[str, object]:
    return {
        "name": each.name,
        "version": each.version,
        "kind": each.source.kind,
        "proof": each.proof.value if each.proof else None,
        "reason": each.reason,
        "file": each.file,
        "kept": each.kept,
        "modified": list(each.modified),
        "record": each.record,
    }


def _select_ring(outcome: Outcome, run_id: str | None, directory: Path, machine: Machine) -> Outcome:
    """Return the outcome for what a run has used alone; with `run_id` None it is left as it is."""
    if run_id is None:
        return outcome
    from repro.environments.snapshot import select_ring
    from repro.tracking.observed_runs import find_ring

    return select_ring(outcome, find_ring(run_id, project_dir=directory, environ=machine.environ))


def _show(outcome: Outcome, *, written: bool, as_json: bool) -> None:
    from repro.cli.lock_summary import describe_lock, show_lock

    taken, drift, would_change = outcome.taken, outcome.drift, outcome.would_change
    if not as_json:
        show_lock(outcome.path, taken.snapshot, drift=drift, written=written, would_change=would_change)
        return
    content = describe_lock(
        outcome.path,
        taken.snapshot,
        python=taken.python,
        drift=drift,
        written=written,
        would_change=would_change,
        notes=outcome.notes,
    )
    content["entries"] = [_describe_entry(each) for each in taken.snapshot.distributions]
    content["faults"] = [{"kind": each.kind, "name": each.name, "text": each.text} for each in taken.faults]
    console.show_json(content)


def _parse(arguments: list[str]) -> argparse.Namespace:
    from repro.cli.options import add_cache, add_indexes, add_python, make_parser
    from repro.formats.lockfile import FILE_NAME
    from repro.snapshots.pins import ENGINES

    parser = make_parser(
        "snapshot", "Write the lock of an environment: every distribution, its version, hashes.", _EXAMPLES
    )
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project (default: here)")
    parser.add_argument("-o", "--output", metavar="FILE", help=f"write here instead of DIR/{FILE_NAME}; `-` for stdout")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the digest would change")
    parser.add_argument("--allow-missing", action="store_true", help="leave out distributions that cannot be read")
    parser.add_argument("--engine", choices=ENGINES, help="ask this tool for hashes; it proves nothing")
    parser.add_argument("--prove", action="store_true", help="compare every file's RECORD with its index's")
    parser.add_argument("--deep", action="store_true", help="compare the sha256 of every installed file with RECORD")
    parser.add_argument("--strict", action="store_true", help="fail where the environment is not consistent")
    parser.add_argument("--refresh", action="store_true", help="forget what is known of hashes and ask again")
    parser.add_argument(
        "--used", nargs="?", const="", metavar="RUN_ID",
        help="lock only what a run has used (default: the project's newest observed run), and what that requires",
    )  # fmt: skip
    add_indexes(parser)
    add_python(parser, "the interpreter to lock (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_cache(parser)
    return parser.parse_args(arguments)


def run(arguments: list[str]) -> int:
    """Take a snapshot and write it, or with `--check` only say whether it would change."""
    if plainly := _find_plainly(arguments):
        _say_again(*plainly)
        return ExitCode.DONE
    from pathlib import Path

    from repro.cli.options import make_machine
    from repro.environments.snapshot import format_lock, remember_outcome, take_for, write_lock
    from repro.formats.lockfile import FILE_NAME
    from repro.snapshots.work import Thoroughness

    options = _parse(arguments)
    directory = Path(options.directory)
    if not directory.is_dir():
        raise UsageError(
            f"`{directory}` is not a directory", hint="name the project's directory, and the file with `-o`"
        )
    is_printed = options.output == "-"
    if is_printed and (options.check or options.json):
        raise UsageError(
            "`-o -` prints the lock, and `--check` and `--json` print something else", hint="leave one out"
        )
    path = Path(options.output) if options.output and not is_printed else directory / FILE_NAME
    thoroughness = Thoroughness(
        prove=options.prove,
        deep=options.deep,
        strict=options.strict,
        allow_missing=options.allow_missing,
        refresh=options.refresh,
    )
    with console.Progress(quiet=True) as progress:
        machine = make_machine(options, report=progress)
        python = settings.choose_python(options.python, machine.environ)
        outcome = take_for(machine, python, path=path, engine=options.engine, thoroughness=thoroughness)
        outcome = _select_ring(outcome, options.used, directory, machine)
    for sentence in outcome.notes:
        console.warn(sentence)
    if is_printed:
        console.say(format_lock(outcome.taken.snapshot).removesuffix("\n"))
        return ExitCode.DONE
    if not options.check:
        write_lock(outcome.taken.snapshot, path)
    if options.used is None and options.engine is None and machine.indexes is None:
        remember_outcome(machine, outcome, _format_said(outcome))
    _show(outcome, written=not options.check, as_json=options.json)
    return ExitCode.NO if options.check and outcome.would_change else ExitCode.DONE
