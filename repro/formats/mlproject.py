"""Read `MLproject`, MLflow's format for a project's entry points and their parameters, as values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from repro.errors import ProjectError
from repro.formats.fields import find_key_line, read_mapping, read_text
from repro.formats.nested_yaml import parse_nested
from repro.patterns import compile_later
from repro.values import frozen, replace

ENVIRONMENT_KEYS = ("python_env", "conda_env", "docker_env")
_SYNONYMS = {"str": "string", "integer": "int", "number": "float", "double": "float", "boolean": "bool"}
_PLACE = compile_later(r"(?<=in )`([^`]+)`")


class ParameterType(Enum):
    """Name what a parameter's value must be."""

    STRING = "string"
    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    PATH = "path"
    URI = "uri"


@frozen
class Parameter:
    """Hold a declared parameter; `default` is the text it stands for, None where a value must be given."""

    name: str
    type: ParameterType = ParameterType.STRING
    default: str | None = None


@frozen
class EntryPoint:
    """Hold a command of a project, with `{name}` where parameters go."""

    name: str
    command: str
    parameters: tuple[Parameter, ...] = ()


@frozen
class MLProject:
    """Hold the content of an `MLproject` file; of the three environments at most one is named.

    `python_env` and `conda_env` are file names relative to the project, `docker_env` is the image. `notes` are whole
    sentences on what is odd and is run all the same.
    """

    name: str | None = None
    python_env: str | None = None
    conda_env: str | None = None
    docker_env: str | None = None
    entry_points: tuple[EntryPoint, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class _Findings:
    """What is wrong with a file, and what is only odd."""

    faults: list[str]
    notes: list[str]


def _parse_type(word: str, place: str, notes: list[str]) -> ParameterType:
    """Return the type that a word means; an unknown one checks nothing, as MLflow has it."""
    words = [each.value for each in ParameterType]
    known = _SYNONYMS.get(word.lower(), word)
    if known in words:
        return ParameterType(known)
    import difflib

    close = difflib.get_close_matches(word.lower(), words, n=1)
    advice = f"; did you mean `{close[0]}`?" if close else f"; one of {', '.join(words)}"
    notes.append(f"unknown type `{word}` in `{place}` is taken as string{advice}")
    return ParameterType.STRING


def _parse_parameter(name: str, content: object, place: str, findings: _Findings) -> Parameter:
    if content is None or isinstance(content, str):
        return Parameter(name=name, type=_parse_type(content or "string", place, findings.notes))
    if not isinstance(content, dict):
        findings.faults.append(f"neither a type nor a mapping in `{place}`")
        return Parameter(name=name)
    word = read_text(content, "type", place=place, faults=findings.faults)
    return Parameter(
        name=name,
        type=_parse_type("string" if word is None else word, place, findings.notes),
        default=read_text(content, "default", place=place, faults=findings.faults),
    )


def _parse_entry_point(name: str, content: object, findings: _Findings) -> EntryPoint:
    faults = findings.faults
    place = f"entry_points.{name}"
    fields = content if isinstance(content, dict) else {}
    command = fields.get("command")
    if not isinstance(command, str):
        faults.append(f"no `command` in `{place}`")
        command = ""
    declared = read_mapping(fields, "parameters", place=place, faults=faults)
    parameters = tuple(
        _parse_parameter(key, value, f"{place}.parameters.{key}", findings) for key, value in declared.items()
    )
    return EntryPoint(name=name, command=command, parameters=parameters)


def _parse_docker_image(content: Mapping[str, object], faults: list[str]) -> str | None:
    if content.get("docker_env") is None:
        return None
    fields = read_mapping(content, "docker_env", place="", faults=faults)
    image = read_text(fields, "image", place="docker_env", faults=faults)
    if image is None and isinstance(content["docker_env"], dict) and fields.get("image") is None:
        faults.append("no `image` in `docker_env`")
    return image


def _refuse_second_environment(content: Mapping[str, object], faults: list[str]) -> None:
    named = [f"`{key}`" for key in ENVIRONMENT_KEYS if content.get(key) is not None]
    if len(named) > 1:
        faults.append(f"more than one environment is named: {', '.join(named)}")


def _name_lines(sentences: list[str], text: str) -> tuple[str, ...]:
    """Return sentences with the line of the place that each names."""

    def name_line(match: re.Match[str]) -> str:
        line = find_key_line(text, match[1])
        return match[0] + (f", line {line}" if line else "")

    return tuple(_PLACE.sub(name_line, each, count=1) for each in sentences)


def parse_mlproject(text: str, *, where: str = "MLproject") -> MLProject:
    """Return what an `MLproject` declares; keys that MLflow ignores are ignored.

    Raises ProjectError, which names every fault with its place and line.
    """
    content = parse_nested(text, where=where)
    findings = _Findings(faults=[], notes=[])
    faults = findings.faults
    _refuse_second_environment(content, faults)
    if content.get("databricks_spark_job") is not None:
        faults.append("only Databricks runs what stands in `databricks_spark_job`")
    entry_points = read_mapping(content, "entry_points", place="", faults=faults)
    project = MLProject(
        name=read_text(content, "name", place="", faults=faults),
        python_env=read_text(content, "python_env", place="", faults=faults),
        conda_env=read_text(content, "conda_env", place="", faults=faults),
        docker_env=_parse_docker_image(content, faults),
        entry_points=tuple(_parse_entry_point(name, value, findings) for name, value in entry_points.items()),
    )
    if faults:
        raise ProjectError(
            f"`{where}` cannot be used", hint="mend these places in it", details=_name_lines(faults, text)
        )
    return replace(project, notes=tuple(f"{where}: {each}" for each in _name_lines(findings.notes, text)))


def _split_command(entry_point: EntryPoint) -> list[tuple[str, str | None]]:
    """Split a command into literal texts, each with the place behind it.

    A conversion or a format (`{a!r}`, `{a:>9}`) stays in the place's name: applied to a quoted value, it would undo the
    quotes.
    """
    if not any(brace in entry_point.command for brace in "{}"):
        return [(entry_point.command, None)]
    from string import Formatter

    try:
        parts = list(Formatter().parse(entry_point.command))
    except ValueError as error:
        raise ProjectError(
            f"the command of entry point `{entry_point.name}` has a brace that does not pair: `{entry_point.command}`",
            hint="a literal brace is written twice",
        ) from error
    return [
        (literal, None if field is None else field + (f"!{how}" if how else "") + (f":{form}" if form else ""))
        for literal, field, form, how in parts
    ]


def _find_open_quote(text: str, quote: str) -> str:
    """Return the quotation mark that is open behind a text of a shell command, "" for none; `quote` is open before."""
    chars = iter(text)
    for char in chars:
        if char == "\\" and quote != "'":
            next(chars, None)
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
    return quote


def _quote(value: str, quote: str) -> str:
    """Return a value as one shell word, or as a part of the word in quotation marks where it stands in those."""
    quoted = shlex.quote(value)
    return quote + quoted + quote if quoted != value else value


def _fill(parts: Iterable[tuple[str, str | None]], values: Mapping[str, str]) -> Iterator[str]:
    """Yield the pieces of a command; a place in quotation marks gets its value too and no quotation marks."""
    quote = ""
    for text, place in parts:
        yield text
        quote = _find_open_quote(text, quote)
        if place is not None:
            yield _quote(values[place], quote) if values[place] or not quote else ""


def format_command(entry_point: EntryPoint, values: Mapping[str, str]) -> str:
    """Return the shell command of an entry point, each value quoted exactly once, in quotation marks too.

    A value that is neither declared nor has a place follows as `--name value`, in the given order. Raises ProjectError
    for a place without a value.
    """
    parts = _split_command(entry_point)
    places = dict.fromkeys(place for _, place in parts if place is not None)
    unfilled = [f"`{{{place}}}`" for place in places if place not in values]
    if unfilled:
        raise ProjectError(
            f"the command of entry point `{entry_point.name}` has a place that no parameter fills: "
            f"{', '.join(unfilled)} in `{entry_point.command}`",
            hint="declare it under `parameters`; a literal brace is written twice",
        )
    command = "".join(_fill(parts, values))
    named = {*places, *(parameter.name for parameter in entry_point.parameters)}
    extra = [f"{shlex.quote(f'--{name}')} {shlex.quote(value)}" for name, value in values.items() if name not in named]
    return " ".join([command, *extra])
