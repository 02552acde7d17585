"""`repro params`."""

from __future__ import annotations

from pathlib import Path

from repro.cli import console
from repro.cli.options import make_parser
from repro.errors import ExitCode, UsageError
from repro.formats.script_parameters import Accepted, Computed, ScriptParameter, Value, parse_script_parameters

_EXAMPLES = """\
  repro params train.py
  repro params train.py --json
"""


def _format_value(value: Value) -> str:
    match value:
        case None:
            return ""
        case Computed():
            return f"({value.source})"
        case str():
            return value if value and value.isprintable() and value == value.strip() else repr(value)
    return str(value)


def _format_choices(value: Value) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else _format_value(value)


def _format_row(each: ScriptParameter) -> list[str]:
    choices = f"one of {_format_choices(each.choices)}" if each.choices is not None else ""
    described = " ".join(_format_value(each.description).split())
    return [
        each.name,
        ", ".join(each.spellings) or "by its place",
        each.type or "",
        "required" if each.required and each.default is None else _format_value(each.default),
        "; ".join(part for part in (described, choices) if part),
    ]


def _show(path: str, accepted: Accepted) -> None:
    if accepted.parameters:
        rows = [_format_row(each) for each in accepted.parameters]
        console.show_table(("NAME", "OPTION", "TYPE", "DEFAULT", "DESCRIPTION"), rows)
    else:
        console.say(f"{path}: no parameters are found in it")
    for remark in accepted.remarks:
        console.note(f"{path}:{remark.line}: {remark.text}")
    if any(_is_computed(each) for each in accepted.parameters):
        console.note("what stands in () is computed when the script runs")


def _is_computed(each: ScriptParameter) -> bool:
    return any(isinstance(value, Computed) for value in (each.default, each.choices, each.description))


def _describe(each: ScriptParameter) -> dict[str, object]:
    """Return a parameter for `--json`; a value that is computed is null, and its source stands in `computed`."""
    values = {"default": each.default, "choices": each.choices, "description": each.description}
    return {
        "name": each.name,
        "origin": each.origin.value,
        "options": list(each.spellings),
        "type": each.type,
        "required": each.required,
        "flag": each.is_flag,
        **{key: None if isinstance(value, Computed) else value for key, value in values.items()},
        "computed": {key: value.source for key, value in values.items() if isinstance(value, Computed)},
        "line": each.line,
    }


def _read(path: str) -> Accepted:
    if Path(path).suffix not in (".py", ""):
        raise UsageError(f"`{path}` is not a Python script, and the parameters of no other are read")
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}") from error
    try:
        return parse_script_parameters(source)
    except ValueError as error:
        raise UsageError(f"`{path}` is not Python that can be read: {error}") from error


def run(arguments: list[str]) -> int:
    """List what a script accepts, without running it."""
    parser = make_parser("params", "List the parameters that a Python script accepts, without running it.", _EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="a Python script")
    options = parser.parse_args(arguments)
    accepted = _read(options.file)
    if options.json:
        remarks = [{"line": each.line, "text": each.text} for each in accepted.remarks]
        console.show_json(
            {"file": options.file, "parameters": list(map(_describe, accepted.parameters)), "remarks": remarks}
        )
    else:
        _show(options.file, accepted)
    return ExitCode.DONE
