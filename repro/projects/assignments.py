"""The values of an entry point's parameters: read, checked by type and kept as the text they were given as."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

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
                return not math.isnan(float(value)) or value.strip().lower() == "nan"
            case ParameterType.INT:
                return str(int(value)) != "" and "_" not in value
            case ParameterType.BOOL:
                return value.lower() in _BOOLEANS
            case ParameterType.URI:
                return bool(urlsplit(value).scheme)
            case _:
                return True
    except ValueError:
        return False


def _resolve_path(parameter: Parameter, value: str, base: Path) -> str:
    scheme = urlsplit(value).scheme
    if scheme and scheme != "file":
        raise UsageError(
            f"the parameter `{parameter.name}` is a path, and `{value}` is not on this machine",
            hint="download it, and give its path",
        )
    path = base / Path(urlsplit(value).path if scheme else value).expanduser()
    if not path.exists():
        raise UsageError(f"the parameter `{parameter.name}` is a path, and there is no `{path}`")
    return str(path.resolve())


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
