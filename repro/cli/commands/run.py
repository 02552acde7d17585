"""`repro run`."""

from __future__ import annotations

import argparse

from repro import settings
from repro.cli import console
from repro.cli.options import add_cache, add_python, make_machine, make_parser
from repro.cli.period import parse_period
from repro.errors import UsageError
from repro.projects.run import RunRequest, run_project

_EXAMPLES = """\
  repro run project/ -e train.py -P alpha=0.5
  repro run project/ --restore            in the environment of the project's lock
  repro run project/ -e train.py --timeout 2h
  repro run https://example.org/wine.git#models --version v1.2 -e train.py
  repro run wine.zip                      a `.zip`, here or behind http(s)
  repro run RUN_ID                        a logged run again: its code, parameters and snapshot
"""


def _choose_restore(options: argparse.Namespace) -> bool | None:
    """Return what options and `REPRO_RESTORE` say, None for nothing. Raises UsageError where they say both."""
    if options.restore and options.no_restore:
        raise UsageError("`--restore` and `--no-restore` exclude each other")
    if options.no_restore:
        return False
    return options.restore or settings.wants_restore(settings.own_environment()) or None


def run(arguments: list[str]) -> int:
    """Run an entry point; the exit code is its own."""
    parser = make_parser("run", "Run a project's entry point and keep the run with its snapshot.", _EXAMPLES)
    parser.add_argument(
        "uri", nargs="?", default=".", metavar="URI", help="a directory, git URL, .zip or run (default: here)"
    )
    parser.add_argument(
        "-e", "--entry-point", metavar="ENTRY", help="an entry point of MLproject, or a .py or .sh file"
    )
    parser.add_argument(
        "-P", "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter (repeatable)"
    )
    parser.add_argument("--version", metavar="REF", help="the commit, tag or branch of a git repository")
    parser.add_argument("--restore", action="store_true", help="run in the environment of the project's lock")
    parser.add_argument("--no-restore", action="store_true", help="run a logged run again in your own environment")
    parser.add_argument("--offline", action="store_true", help="touch no network: what the cache has is run")
    parser.add_argument("--no-snapshot", action="store_true", help="take no snapshot")
    parser.add_argument("--no-observe", action="store_true", help="do not note what the run imports (REPRO_OBSERVE=0)")
    parser.add_argument("--timeout", metavar="PERIOD", help="end the run after so long, e.g. 90s or 2h (exit code 124)")
    add_python(parser, "the interpreter to run with, or to restore on")
    add_cache(parser)
    options = parser.parse_args(arguments)
    request = RunRequest(
        uri=options.uri,
        entry_point=options.entry_point,
        parameters=tuple(options.param),
        version=options.version,
        offline=options.offline,
        restore=_choose_restore(options),
        snapshot=not options.no_snapshot,
        observe=not options.no_observe,
        python=options.python,
        stdout_to_stderr=options.json,
        timeout_s=parse_period(options.timeout, unit="s") if options.timeout is not None else None,
    )
    with console.Progress() as progress:

        def say(sentence: str) -> None:
            progress.stop()
            console.note(sentence)

        result = run_project(make_machine(options, report=progress), request, say=say)
    if options.json:
        console.show_json(result.to_dict())
    return result.exit_code
