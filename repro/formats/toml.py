"""Read and write TOML 1.0 as mappings: the only user of tomllib (tomli before Python 3.11).

What is written is a subset that every reader has: tables, arrays of tables, and values in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone

from repro.errors import ReproError

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def parse_toml(text: str, *, where: str) -> dict[str, object]:
    """Return the table a TOML text holds. Raises ReproError with `where`, line and column."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return dict(tomllib.loads(text.replace("\r\n", "\n")))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ReproError(f"`{where}` is not valid TOML: {error}") from error


def _format_string(text: str) -> str:
    chars = (_ESCAPES.get(char) or (char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}") for char in text)
    return '"' + "".join(chars) + '"'


def _format_key(key: str) -> str:
    return key if key and _BARE.issuperset(key) else _format_string(key)


def _format_value(value: object) -> str:
    """Return a value as it stands behind `=`. Raises TypeError for what TOML has no value for."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _format_string(value)
        case int():
            return str(value)
        case datetime():
            return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
        case Mapping():
            pairs = ", ".join(f"{_format_key(key)} = {_format_value(each)}" for key, each in value.items())
            return f"{{{pairs}}}"
        case Sequence():
            return "[" + ", ".join(map(_format_value, value)) + "]"
        case _:
            raise TypeError(f"no TOML value: {value!r}")


def _is_tables(value: object) -> bool:
    is_array = isinstance(value, Sequence) and not isinstance(value, str)
    return is_array and bool(value) and all(isinstance(each, Mapping) for each in value)  # type: ignore[attr-defined]


def _format_pair(key: str, value: object) -> Iterator[str]:
    """Yield a key and its value; an array of tables has one of them a line (an inline table may not be broken)."""
    if _is_tables(value):
        yield f"{_format_key(key)} = ["
        yield from (f"    {_format_value(each)}," for each in value)  # type: ignore[attr-defined]
        yield "]"
    else:
        yield f"{_format_key(key)} = {_format_value(value)}"


def format_toml(content: Mapping[str, object]) -> str:
    """Return a table as TOML in the order of its keys; arrays of tables at the top become `[[key]]` and stand last."""
    lines: list[str] = []
    for key, value in content.items():
        if not _is_tables(value):
            lines += _format_pair(key, value)
    for key, value in content.items():
        for table in value if _is_tables(value) else ():  # type: ignore[attr-defined]
            lines += ["", f"[[{_format_key(key)}]]"]
            for name, each in table.items():
                lines += _format_pair(name, each)
    return "\n".join(lines) + "\n"
