"""Read and write the YAML of a mapping whose values are single, without importing yaml: what a run's files are.

It is a small part of YAML 1.2 that means the same to every reader; whatever is beyond it goes to `fields`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from repro.formats.fields import dump_mapping, load_mapping
from repro.patterns import compile_later

_PLAIN = compile_later(
    r"(?=[0-9e]*[abcdf])[0-9a-f]{32}|"  # a run's id; of digits and `e` alone it is a number to some readers
    r"[A-Za-z/][A-Za-z0-9_./+@-]*(?: [A-Za-z0-9_./+@-]+)*|[a-z][a-z+-]*:/[A-Za-z0-9_.,/%+@~-]*"
)
WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_WHOLE = compile_later(r"0|-?[1-9][0-9]{0,17}")
_READ_PLAIN = compile_later(r"[^\W\d_][\w./+@-]*(?: [\w./+@-]+)*")  # as others write what is not ASCII
_ESCAPE_TEXT = r"\\([\"\\nt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
_ESCAPE = compile_later(_ESCAPE_TEXT)
_DOUBLE_QUOTED = compile_later(rf'"((?:[^"\\]|{_ESCAPE_TEXT})*)"')
_SHORT = {"\n": "n", "\t": "t", '"': '"', "\\": "\\"}
_LONG = {letter: char for char, letter in _SHORT.items()}
_KEY = compile_later(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE = compile_later(r"([A-Za-z_][A-Za-z0-9_]*):(?: (.*))?")


def _escape_char(char: str) -> str:
    if char in _SHORT:
        return "\\" + _SHORT[char]
    number = ord(char)
    if char.isprintable():
        return char
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _unescape_char(match: re.Match[str]) -> str:
    word = match[1]
    return _LONG[word] if word in _LONG else chr(int(word[1:], 16))


def _quote(text: str) -> str:
    """Return a text in quotes: single ones where nothing in it needs an escape. Raises UnicodeEncodeError."""
    text.encode()
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(map(_escape_char, text)) + '"'


def _format_scalar(value: object) -> str | None:
    """Return a value as YAML, None for one that is not for us."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in WORDS:
            return value
        return _quote(value)
    return "[]" if value == [] else None


def _is_plain_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None and key.lower() not in WORDS


def format_flat(mapping: Mapping[str, object]) -> str:
    """Return a mapping as YAML with sorted keys."""
    scalars = {key: _format_scalar(mapping[key]) for key in sorted(mapping)}
    if not all(scalar is not None and _is_plain_key(key) for key, scalar in scalars.items()):
        return dump_mapping(mapping)
    return "".join(f"{key}: {scalar}\n" for key, scalar in scalars.items())


class Beyond(Exception):
    """The text has something that is not for us."""


def _parse_double_quoted(inner: str) -> str:
    try:
        text = _ESCAPE.sub(_unescape_char, inner)
        text.encode()
    except ValueError as error:  # beyond Unicode, or half of a pair
        raise Beyond from error
    return text


def parse_scalar(text: str) -> object:
    """Return a single value. Raises Beyond for one that is not for us."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if text in ("", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if text == "[]":
        return []
    if not text.isprintable():
        raise Beyond
    if len(text) >= 2 and text[0] == text[-1] == "'":
        inner = text[1:-1]
        if "'" not in inner.replace("''", ""):
            return inner.replace("''", "'")
    if (_PLAIN.fullmatch(text) or _READ_PLAIN.fullmatch(text)) and text.lower() not in WORDS:
        return text
    if quoted := _DOUBLE_QUOTED.fullmatch(text):
        return _parse_double_quoted(quoted[1])
    raise Beyond


def _parse_lines(text: str) -> dict[str, object]:
    content: dict[str, object] = {}
    for line in text.split("\n"):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if not match or match[1] in content or not _is_plain_key(match[1]):
            raise Beyond
        content[match[1]] = parse_scalar(match[2] or "")
    return content


def parse_flat(text: str, *, where: str) -> dict[str, object]:
    """Return the mapping that a YAML text holds. Raises ProjectError with `where`, line and column."""
    try:
        return _parse_lines(text)
    except Beyond:
        return load_mapping(text, where=where)
