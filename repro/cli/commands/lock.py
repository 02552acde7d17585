"""`repro lock`."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import console
from repro.cli.lock_summary import describe_lock, show_lock
from repro.cli.options import add_cache, add_indexes, add_python, make_machine, make_parser
from repro.environments.lock import LockOutcome, LockRequest, lock_for
from repro.environments.snapshot import write_lock
from repro.errors import ExitCode
from repro.formats.lockfile import FILE_NAME
from repro.formats.moment import parse_moment
from repro.snapshots.choose import ENGINES

_EXAMPLES = """\
  repro lock requirements.in                     choose versions, write requirements-lock.txt beside it
  repro lock pyproject.toml --extra plot --group dev
  repro lock conda.yaml --as-of 2025-06-30       what the index had on that day
  repro lock uv.lock -o requirements-lock.txt    take over what another tool chose
"""


def _make_request(options: argparse.Namespace) -> LockRequest:
    return LockRequest(
        files=tuple(map(Path, options.files)),
        python=options.python,
        engine=options.engine,
        extras=tuple(options.extra),
        groups=tuple(options.group),
        before=parse_moment(options.as_of) if options.as_of else None,
    )


def _lock(options: argparse.Namespace) -> LockOutcome:
    request = _make_request(options)
    path = Path(options.output) if options.output else request.files[0].parent / FILE_NAME
    with console.Progress() as progress:
        return lock_for(make_machine(options, report=progress), request, path=path)


def run(arguments: list[str]) -> int:
    """Lock what files ask for and write it, or with `--check` only say whether it would change."""
    parser = make_parser("lock", "Write the lock of what a project asks for, without installing it.", _EXAMPLES)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="requirements.txt, pyproject.toml, python_env.yaml, conda.yaml, a script; pylock.toml or uv.lock alone",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help=f"write here instead of {FILE_NAME} beside the first")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the lock would change")
    parser.add_argument("--as-of", metavar="DATE", help="choose among what the index had by then (RFC 3339, UTC)")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help="an extra too (repeatable)")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="a dependency group too")
    parser.add_argument("--engine", choices=ENGINES, help="what chooses versions (default: uv, else pip-tools)")
    add_python(parser, "the interpreter to lock for (default: MLFLOW_PYTHON_BIN, the active environment, PATH)")
    add_indexes(parser)
    add_cache(parser)
    options = parser.parse_args(arguments)
    outcome = _lock(options)
    for sentence in outcome.notes:
        console.warn(sentence)
    written = not options.check
    if written:
        write_lock(outcome.locked.snapshot, outcome.path)
    snapshot, drift, would_change = outcome.locked.snapshot, outcome.drift, outcome.would_change
    if options.json:
        content = describe_lock(
            outcome.path,
            snapshot,
            python=outcome.locked.python,
            drift=drift,
            written=written,
            would_change=would_change,
            notes=outcome.notes,
        )
        console.show_json(content)
    else:
        show_lock(outcome.path, snapshot, drift=drift, written=written, would_change=would_change)
    return ExitCode.NO if options.check and would_change else ExitCode.DONE
