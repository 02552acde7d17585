"""`MLproject`: a project's entry points and their parameters, in MLflow's format, as values."""

from __future__ import annotations

import difflib
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from repro.errors import ProjectError
from repro.formats.fields import load_mapping

ENVIRONMENT_KEYS = ("python_env", "conda_env", "docker_env")


class ParameterType(Enum):
    """What a parameter's value must be."""

    STRING = "string"
    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    PATH = "path"
    URI = "uri"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A declared parameter; `default` is the text it stands for, None where a value must be given."""

    name: str
    type: ParameterType = ParameterType.STRING
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """A command of a project, with `{name}` where parameters go."""

    name: str
    command: str
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MLProject:
    """The content of an `MLproject` file; of the three environments at most one is named."""

    name: str | None = None
    python_env: str | None = None
    conda_env: str | None = None
    docker_env: str | None = None
    entry_points: tuple[EntryPoint, ...] = ()


def _format_scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_type(value: object, place: str, faults: list[str]) -> ParameterType:
    words = [each.value for each in ParameterType]
    if isinstance(value, str) and value in words:
        return ParameterType(value)
    close = difflib.get_close_matches(str(value), words, n=1)
    advice = f"; did you mean `{close[0]}`?" if close else f"; one of {', '.join(words)}"
    faults.append(f"unknown type `{value}` in `{place}`{advice}")
    return ParameterType.STRING


def _parse_parameter(name: str, content: object, place: str, faults: list[str]) -> Parameter:
    if not isinstance(content, dict):
        return Parameter(name=name, type=_parse_type(content, place, faults))
    default = content.get("default")
    if isinstance(default, dict | list):
        faults.append(f"the default in `{place}` is not a single value")
        default = None
    return Parameter(
        name=name,
        type=_parse_type(content.get("type", "string"), place, faults),
        default=None if default is None else _format_scalar(default),
    )


def _parse_entry_point(name: str, content: object, faults: list[str]) -> EntryPoint:
    place = f"entry_points.{name}"
    if not isinstance(content, dict) or not isinstance(content.get("command"), str):
        faults.append(f"no `command` in `{place}`")
        return EntryPoint(name=name, command="")
    declared = content.get("parameters") or {}
    if not isinstance(declared, dict):
        faults.append(f"`{place}.parameters` is not a mapping")
        declared = {}
    parameters = tuple(
        _parse_parameter(str(key), value, f"{place}.parameters.{key}", faults) for key, value in declared.items()
    )
    return EntryPoint(name=name, command=content["command"], parameters=parameters)


def _parse_environments(content: Mapping[str, object], faults: list[str]) -> dict[str, str]:
    named = {key: content[key] for key in ENVIRONMENT_KEYS if content.get(key) is not None}
    if len(named) > 1:
        faults.append(f"more than one environment is named: {', '.join(f'`{key}`' for key in named)}")
    return {key: value if isinstance(value, str) else str(value) for key, value in named.items()}


def parse_mlproject(text: str, *, where: str = "MLproject") -> MLProject:
    """Return what an `MLproject` declares; keys that MLflow ignores are ignored.

    Raises ProjectError, which names every fault with its place.
    """
    content = load_mapping(text, where=where)
    faults: list[str] = []
    entry_points = content.get("entry_points") or {}
    if not isinstance(entry_points, dict):
        faults.append("`entry_points` is not a mapping")
        entry_points = {}
    name = content.get("name")
    project = MLProject(
        name=str(name) if name is not None else None,
        **_parse_environments(content, faults),
        entry_points=tuple(_parse_entry_point(str(key), value, faults) for key, value in entry_points.items()),
    )
    if faults:
        raise ProjectError(f"`{where}` cannot be used", hint="mend these places in it", details=tuple(faults))
    return project


def format_command(entry_point: EntryPoint, values: Mapping[str, str]) -> str:
    """Return the shell command of an entry point, each value quoted exactly once.

    A value that the command has no place for follows as `--name value`. Raises ProjectError for a place without a
    value.
    """
    try:
        places = {field for _, field, _, _ in string.Formatter().parse(entry_point.command) if field is not None}
        declared = {parameter.name for parameter in entry_point.parameters}
        quoted = {name: shlex.quote(value) for name, value in values.items()}
        command = entry_point.command.format(**quoted)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ProjectError(
            f"the command of entry point `{entry_point.name}` has a place that no parameter fills ({error}): "
            f"`{entry_point.command}`",
            hint="declare it under `parameters`; a literal brace is written twice",
        ) from error
    extra = [
        f"{shlex.quote(f'--{name}')} {value}"
        for name, value in quoted.items()
        if name not in places and name not in declared
    ]
    return " ".join([command, *extra])
