"""`repro sweep`."""

from __future__ import annotations

import argparse
import re

from repro.cli import console
from repro.cli.options import make_machine, make_parser
from repro.cli.run_options import add_project_options, make_run_request
from repro.cli.sweep_view import SweepView, format_end
from repro.errors import UsageError
from repro.formats.axis import Axis, parse_axis
from repro.projects.assignments import parse_assignments
from repro.projects.sweep import run_sweep
from repro.projects.sweep_progress import Event
from repro.projects.sweep_progress import Progress as SweepProgress
from repro.projects.sweep_request import Goal, SweepRequest, SweepResult

_EXAMPLES = """\
  repro sweep project/ -e train.py -P lr=0.1,0.2 -P 'depth=range(2,6)' -j 2
  repro sweep -e train.py -P 'lr=loguniform(1e-4,1e-1)' -P kind=tree,forest --sample 20 --seed 7
  repro sweep -e train.py -P lr=0.1,0.2 --metric loss --goal min --restore
  repro sweep --resume RUN_ID             the points that have no FINISHED run; so does the same command again
"""
_RUN_ID = re.compile(r"[0-9a-f]{6,32}")  # or its beginning, as `repro run` takes it


def _add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="run N points at a time (default: 1)")
    parser.add_argument("--sample", type=int, metavar="N", help="draw N points instead of running the whole grid")
    parser.add_argument("--seed", type=int, metavar="S", help="draw the same points as before")
    parser.add_argument("--metric", metavar="NAME", help="the metric that says which point is the best")
    parser.add_argument("--goal", choices=[each.value for each in Goal], help="whether its least or greatest is best")
    parser.add_argument("--fail-fast", action="store_true", help="end all others once a point has failed")
    parser.add_argument(
        "--resume", metavar="RUN_ID", help="go on with a sweep (or the beginning of its id): what has no FINISHED run"
    )
    parser.add_argument("--new", action="store_true", help="begin another sweep, though the same one is there")


def _read_axes(pairs: list[str]) -> dict[str, Axis]:
    axes = {}
    for name, text in parse_assignments(pairs).items():
        try:
            axes[name] = parse_axis(text)
        except ValueError as error:
            raise UsageError(f"`-P {name}={text}`: {error}") from error
    return axes


def _check_resume(options: argparse.Namespace) -> None:
    """Refuse what a sweep that is resumed has said already. Raises UsageError."""
    if options.resume is None:
        return
    if not _RUN_ID.fullmatch(options.resume):
        raise UsageError(f"`{options.resume}` is no run's id (32 hexadecimal digits, or the first six or more)")
    given = {
        "URI": options.uri is not None,
        "-e": options.entry_point is not None,
        "-P": bool(options.param),
        "--version": options.version is not None,
        "--sample": options.sample is not None,
        "--seed": options.seed is not None,
        "--experiment": options.experiment is not None,
        "--new": options.new,
    }
    if named := [name for name, is_given in given.items() if is_given]:
        raise UsageError(f"`--resume` goes on with what was asked for then, and `{named[0]}` asks for other things")


def _read_request(options: argparse.Namespace) -> SweepRequest:
    _check_resume(options)
    return SweepRequest(
        run=make_run_request(options, parameters=()),
        axes=_read_axes(options.param),
        jobs=options.jobs,
        sample=options.sample,
        seed=options.seed,
        metric=options.metric,
        goal=Goal(options.goal) if options.goal else None,
        fail_fast=options.fail_fast,
        resume=options.resume,
        new=options.new,
    )


def _run(options: argparse.Namespace, request: SweepRequest) -> SweepResult:
    with console.Progress() as progress, SweepView() as view:

        def say(sentence: str) -> None:
            progress.stop()
            console.note(console.escape(sentence))

        def watch(event: Event, state: SweepProgress) -> None:
            progress.stop()
            view.watch(event, state)

        return run_sweep(make_machine(options, report=progress), request, say=say, watch=watch)


def run(arguments: list[str]) -> int:
    """Run a sweep; 0 where every point is FINISHED, 1 where one is not."""
    summary = "Run an entry point at many points of its parameters: a grid or a sample, as child runs of one run."
    parser = make_parser("sweep", summary, _EXAMPLES)
    add_project_options(
        parser,
        parameter="values of a parameter: `0.1,0.2`, `range(2,6)`, `uniform(0,1)`, `loguniform(1e-4,1)` (repeatable)",
        timeout="end each point after so long, e.g. 90s or 2h",
    )
    _add_sweep_options(parser)
    options = parser.parse_args(arguments)
    result = _run(options, _read_request(options))
    for line in format_end(result):
        console.note(console.escape(line))
    if options.json:
        console.show_json(result.to_dict())
    return result.exit_code
