"""Read the values of an entry point's parameters: checked by type, kept as the text they were given as."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repro.errors import UsageError
from repro.formats.mlproject import EntryPoint, Parameter, ParameterType
from repro.projects.remote_data import SCHEMES, fetch, is_remote
from repro.values import frozen

_LENIENT = (ParameterType.FLOAT, ParameterType.INT, ParameterType.BOOL)
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


def _check_remote(parameter: Parameter, value: str) -> None:
    scheme = urlsplit(value).scheme
    if scheme not in SCHEMES:
        raise UsageError(
            f"the parameter `{parameter.name}` is a path, and `{value}` cannot be fetched: `{scheme}:` is not known",
            hint=f"one of {', '.join(f'`{each}:`' for each in SCHEMES)}; or download it, and give its path",
        )


def _resolve_path(parameter: Parameter, value: str, base: Path) -> str:
    """Return an absolute path that exists; a link keeps its own name, which may have the extension that counts.

    What lies elsewhere stays as it is, to be fetched.
    """
    parts = urlsplit(value)
    is_local_uri = parts.scheme == "file" and parts.netloc in ("", "localhost")
    path = os.path.abspath(base / (unquote(parts.path) if is_local_uri else os.path.expanduser(value)))
    if value and os.path.exists(path):
        return path
    if is_remote(value):
        _check_remote(parameter, value)
        return value
    raise UsageError(f"the parameter `{parameter.name}` is a path, and there is no `{path if value else value}`")


@frozen
class Values:
    """The values of parameters by name: as they were `given` and are kept, and as the command is `passed` them.

    They differ for a path alone. Those of the names in `remote` have still to be fetched.
    """

    given: Mapping[str, str]
    passed: Mapping[str, str]
    remote: tuple[str, ...] = ()


def _check(parameter: Parameter, value: str) -> None:
    if not _is_of_type(value, parameter.type):
        raise UsageError(
            f"the parameter `{parameter.name}` must be of type {parameter.type.value}, and `{value}` is not",
            hint="`--lenient-types` takes numbers and truth values as any text, as MLflow does"
            if parameter.type in _LENIENT
            else None,
        )


def _refuse_missing(entry_point: EntryPoint, known: Mapping[str, str]) -> None:
    missing = [each.name for each in entry_point.parameters if each.name not in known]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise UsageError(
            f"the entry point `{entry_point.name}` needs a value for {names}",
            hint=" ".join(f"-P {name}=VALUE" for name in missing),
        )


def resolve_parameters(
    entry_point: EntryPoint, given: Mapping[str, str], *, project_dir: Path, cwd: Path, lenient: bool = False
) -> Values:
    """Return the value of each parameter: those declared, in their order, then the others given.

    A path's default is relative to the project, a given one to the caller. Where `lenient`, any text is a number or a
    truth value. Raises UsageError before any run exists.
    """
    declared = {each.name: each for each in entry_point.parameters}
    defaults = {each.name: each.default for each in entry_point.parameters if each.default is not None}
    known = {name: given.get(name, defaults.get(name)) for name in declared if name in given or name in defaults}
    values = {name: value for name, value in {**known, **given}.items() if value is not None}
    _refuse_missing(entry_point, values)
    passed, remote = dict(values), []
    for name, parameter in declared.items():
        if parameter.type is ParameterType.PATH:
            passed[name] = _resolve_path(parameter, values[name], cwd if name in given else project_dir)
            remote += [name] if is_remote(passed[name]) else []
        elif not (lenient and parameter.type in _LENIENT):
            _check(parameter, values[name])
    return Values(given=values, passed=passed, remote=tuple(remote))


def fetch_remote(values: Values, storage_dir: Path, *, environ: Mapping[str, str]) -> Values:
    """Fetch what paths name elsewhere, each into a directory of its own. Raises ReproError where it cannot be had."""
    fetched = {
        name: str(fetch(values.passed[name], storage_dir / f"param_{at}", environ=environ))
        for at, name in enumerate(values.passed)
        if name in values.remote
    }
    return Values(given=values.given, passed={**values.passed, **fetched})
