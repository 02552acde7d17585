"""`repro predict`: ask a model about a file."""

from __future__ import annotations

import argparse
import shlex
import sys

from repro.cli import console
from repro.cli.model_options import add_model_options, make_load_request
from repro.cli.options import add_cache, make_machine, make_parser
from repro.errors import ExitCode, UsageError

_EXAMPLES = """\
  repro predict model data.csv --restore               in the model's own environment
  repro predict -m runs:/ID/model -i data.json -o out.csv
  repro predict models:/wine/2 rows.parquet -o scores.parquet --restore
  echo '[{"x": 1.5, "y": 2}]' | repro predict model
"""


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser("predict", "Ask a model about the rows of a file, in the right environment.", _EXAMPLES)
    known = "a directory, runs:/ID/PATH, models:/NAME/VERSION, models:/NAME@ALIAS or models:/m-ID"
    parser.add_argument("words", nargs="*", metavar="MODEL [INPUT]", help=f"MODEL: {known}; INPUT: a file")
    parser.add_argument("-m", "--model", metavar="MODEL", help="the model, in place of the first word")
    parser.add_argument("-i", "--input", metavar="FILE", help="the input, in place of the last word (default: stdin)")
    parser.add_argument("-o", "--output", metavar="FILE", help=".json, .csv or .parquet (default: JSON on stdout)")
    parser.add_argument(
        "-t", "--type", metavar="TYPE", help="what INPUT is: json, csv or parquet (default: by its ending; stdin: json)"
    )
    add_model_options(parser)
    add_cache(parser)
    return parser


def _read_words(options: argparse.Namespace) -> tuple[str, str | None]:
    """Return the model and the input, None for stdin. Raises UsageError."""
    words = list(options.words)
    model = options.model or (words.pop(0) if words else None)
    if model is None:
        raise UsageError("no MODEL is named", hint="`repro predict MODEL INPUT`")
    given = options.input or (words.pop(0) if words else None)
    if words:
        raise UsageError(f"`{words[0]}` is one word too many", hint="`repro predict MODEL INPUT`, or `-m` and `-i`")
    return model, None if given == "-" else given


def _read_input(path: str | None) -> bytes:
    if path is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no INPUT is named, and nothing comes from stdin", hint="name a file, or pipe one in")
        return sys.stdin.buffer.read()
    from repro.models.score_file import read_input

    return read_input(path)


def run(arguments: list[str]) -> int:
    """Print or write what a model answers."""
    options = _make_parser().parse_args(arguments)
    options.model, given = _read_words(options)

    from repro.models.predict import Question, predict_file
    from repro.models.score_file import check_output, find_type, format_answer, write_output

    output = None if options.output in (None, "-") else check_output(options.output)
    answer_type = find_type(output)
    question = Question(
        type=find_type(given, options.type, option="-t"),
        content=_read_input(given),
        where="stdin" if given is None else f"`{given}`",
        answer_type=answer_type,
    )
    command = f"repro predict {shlex.quote(options.model)} --restore"
    with console.Progress() as progress:
        machine = make_machine(options, report=progress)
        request = make_load_request(options, machine, command=command)
        content = format_answer(predict_file(machine, request, question, console.note), answer_type)
    if output is None:
        console.say(content.decode().rstrip())
        return ExitCode.DONE
    write_output(output, content)
    if options.json:
        console.show_json({"output": output, "bytes": len(content)})
    return ExitCode.DONE
