"""Read the values of an entry point's parameters: checked by type, kept as the text they were given as."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import UsageError
from repro.formats.mlproject import EntryPoint, Parameter, ParameterType

_BOOLEANS = ("true", "false", "yes", "no", "1", "0")


def parse_assignments(pairs: Sequence[str]) -> dict[str, str]:
    """Return the values of `name=value` texts. Raises UsageError."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise UsageError(f"`-P {pair}` is not `NAME=VALUE`", hint="for example `-P alpha=0.5`")
        if name in values:
            raise UsageError(f"the parameter `{name}` is given twice: `{values[name]}` and `{value}`")
        values[name] = value
    return values


def _is_of_type(value: str, type_: ParameterType) -> bool:
    try:
        match type_:
            case ParameterType.FLOAT:
                float(value)
                return "_" not in value
            case ParameterType.INT:
                int(value)
                return "_" not in value
            case ParameterType.BOOL:
                return value.lower() in _BOOLEANS
            case ParameterType.URI:
                return bool(urlsplit(value).scheme)
            case _:
                return True
    except ValueError:
        return False


def _resolve_path(parameter: Parameter, value: str, base: Path) -> str:
    """Return an absolute path that exists; a link keeps its own name, which may have the extension that counts."""
    parts = urlsplit(value)
    is_local_uri = parts.scheme == "file" and parts.netloc in ("", "localhost")
    path = os.path.abspath(base / (unquote(parts.path) if is_local_uri else os.path.expanduser(value)))
    if value and os.path.exists(path):
        return path
    if parts.scheme and not is_local_uri:
        raise UsageError(
            f"the parameter `{parameter.name}` is a path, and remote ones are not supported yet: `{value}`",
            hint="download it, and give its path",
        )
    raise UsageError(f"the parameter `{parameter.name}` is a path, and there is no `{path if value else value}`")


def _resolve(parameter: Parameter, given: str | None, *, project_dir: Path, cwd: Path) -> str | None:
    value = parameter.default if given is None else given
    if value is None:
        return None
    if parameter.type is ParameterType.PATH:
        return _resolve_path(parameter, value, project_dir if given is None else cwd)
    if not _is_of_type(value, parameter.type):
        raise UsageError(
            f"the parameter `{parameter.name}` must be of type {parameter.type.value}, and `{value}` is not"
        )
    return value


def resolve_parameters(
    entry_point: EntryPoint, given: Mapping[str, str], *, project_dir: Path, cwd: Path
) -> dict[str, str]:
    """Return the value of each parameter: those declared, in their order, then the others given.

    A path's default is relative to the project, a given one to the caller. Raises UsageError before any run exists.
    """
    values: dict[str, str] = {}
    missing = []
    for parameter in entry_point.parameters:
        value = _resolve(parameter, given.get(parameter.name), project_dir=project_dir, cwd=cwd)
        if value is None:
            missing.append(parameter.name)
        else:
            values[parameter.name] = value
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise UsageError(
            f"the entry point `{entry_point.name}` needs a value for {names}",
            hint=" ".join(f"-P {name}=VALUE" for name in missing),
        )
    return values | {name: value for name, value in given.items() if name not in values}
