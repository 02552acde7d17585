"""Read parameters in a script: `repro.param("alpha", 0.5)` takes `--alpha 0.3` from the command line."""

from __future__ import annotations

import sys

from repro.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_TYPES: dict[object, str] = {
    "string": "string", "str": "string", str: "string",
    "numeric": "numeric", "float": "numeric", float: "numeric",
    "integer": "integer", "int": "integer", int: "integer",
    "bool": "bool", "boolean": "bool", bool: "bool",
}  # fmt: skip
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _refuse_underscores(value: object) -> None:
    """Refuse `1_0`, a number to Python's own readers and to no other."""
    if isinstance(value, str) and "_" in value:
        raise ValueError


def _to_integer(value: object) -> int:
    _refuse_underscores(value)
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)  # type: ignore[call-overload,no-any-return]


def _to_numeric(value: object) -> float:
    _refuse_underscores(value)
    if isinstance(value, bool):
        raise TypeError
    return float(value)  # type: ignore[arg-type]


def _to_bool(value: object) -> bool:
    return value if isinstance(value, bool) else _TRUTH[str(value).lower()]


_CASTS: dict[str, Callable[[object], object]] = {
    "string": str,
    "numeric": _to_numeric,
    "integer": _to_integer,
    "bool": _to_bool,
}


def _find_argument(name: str, arguments: Sequence[str]) -> str | None:
    """Return the value of `--name value` or `--name=value`; `-` and `_` in a name are the same."""
    wanted = name.replace("-", "_")
    arguments = arguments[1:] if arguments[:1] == ["--args"] else arguments
    found = None
    for index, word in enumerate(arguments):
        key, separator, value = word.partition("=")
        if not key.startswith("--") or key[2:].replace("-", "_") != wanted:
            continue
        if separator:
            found = value
        elif index + 1 < len(arguments):
            found = arguments[index + 1]
        else:
            raise UsageError(f"the parameter `{name}` has no value behind `{word}`")
    return found


def _find_type(name: str, default: object, type_: object) -> str:
    if type_ is None and default is None:
        raise UsageError(
            f"the parameter `{name}` has neither a default nor a type", hint=f'repro.param("{name}", type="numeric")'
        )
    # A default may be of a subclass, as numpy's float64 is of float.
    for candidate in (type_,) if type_ is not None else type(default).__mro__:
        if isinstance(candidate, (str, type)) and candidate in _TYPES:
            return _TYPES[candidate]
    wanted = type(default) if type_ is None else type_
    word = wanted.__name__ if isinstance(wanted, type) else wanted
    raise UsageError(f"the parameter `{name}` has the unknown type `{word}`", hint="string, numeric, integer or bool")


def _cast(name: str, value: object, type_: str, *, what: str) -> object:
    try:
        return _CASTS[type_](value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UsageError(f"the {what} of parameter `{name}` must be of type {type_}, and `{value}` is not") from None


def param(name: str, default: object = None, type: object = None, description: str | None = None) -> Any:  # noqa: A002
    """Return a parameter's value from the script's command line, else its default.

    `type` is `string`, `numeric`, `integer` or `bool` (or Python's own class); without it the default's. Raises
    UsageError for a bad default, a bad value, and a value that is missing.
    """
    wanted = _find_type(name, default, type)
    fallback = None if default is None else _cast(name, default, wanted, what="default")
    given = _find_argument(name, sys.argv[1:])
    if given is not None:
        return _cast(name, given, wanted, what="value")
    if fallback is None:
        raise UsageError(f"the parameter `{name}` needs a value", hint=f"run the script with `--{name} VALUE`")
    return fallback
