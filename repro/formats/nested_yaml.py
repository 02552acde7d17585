"""Read the YAML of mappings inside mappings, without importing yaml, where it is plain, as most `MLproject` files are.

Block mappings with single values, flow mappings of single values in one line, and lines that are comments; what stands
there means the same to every reader. Whatever is beyond it goes to `fields`.
"""

from __future__ import annotations

from repro.formats.fields import load_mapping
from repro.formats.flat_yaml import WORDS, Beyond, parse_scalar
from repro.patterns import compile_later

_LINE = compile_later(r"( *)([A-Za-z_][A-Za-z0-9_-]*):(?: +(.*))?")
_SKIPPED = compile_later(r" *(?:#.*)?")
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_WORD = _LETTERS | _DIGITS | {*"_./-"}
_COMMAND = _WORD | {*"+@={} "}


def _parse_single(text: str) -> object:
    """Return a single value: the words of a command first, as a block has them, then what `flat_yaml` knows."""
    if text and text[0] in _LETTERS and _COMMAND.issuperset(text) and "  " not in text and text[-1] != " ":
        if text.lower() in WORDS:
            return parse_scalar(text)
        return text
    whole, point, part = text.removeprefix("-").partition(".")
    if point and whole and part and _DIGITS.issuperset(whole + part):
        return float(text)
    return parse_scalar(text)


def _parse_flow_single(text: str) -> object:
    """Return a single value of a flow mapping: a word, a number, or what has neither quotes nor escapes in quotes."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and (_WORD | {" "}).issuperset(text[1:-1]):
        return text[1:-1]
    if not text or not _WORD.issuperset(text) or not (text[0] in _LETTERS or text[-1] in _DIGITS):
        raise Beyond
    return _parse_single(text)


def _add(content: dict[str, object], key: str, value: object) -> None:
    if key in content or key.lower() in WORDS:
        raise Beyond
    content[key] = value


def _parse_value(text: str) -> object:
    if not text.startswith("{"):
        return _parse_single(text)
    if not text.endswith("}"):
        raise Beyond
    content: dict[str, object] = {}
    for part in text[1:-1].strip(" ").split(", "):
        key, colon, value = part.partition(": ")
        if not colon or not _LETTERS.issuperset(key.replace("_", "")) or not key or key == "_":
            raise Beyond
        _add(content, key, _parse_flow_single(value))
    return content


def _list_lines(text: str) -> list[tuple[int, str, str]]:
    """Return indent, key and value of each line that has them."""
    found = []
    for line in text.split("\n"):
        if not line.isprintable():
            raise Beyond
        if _SKIPPED.fullmatch(line):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise Beyond
        found.append((len(match[1]), match[2], match[3] or ""))
    return found


def _parse_lines(lines: list[tuple[int, str, str]]) -> dict[str, object]:
    content: dict[str, object] = {}
    open_mappings = [(0, content)]
    for number, (indent, key, text) in enumerate(lines):
        while open_mappings and indent < open_mappings[-1][0]:
            open_mappings.pop()
        if not open_mappings or indent != open_mappings[-1][0]:
            raise Beyond
        below = lines[number + 1][0] if number + 1 < len(lines) else 0
        if below <= indent:
            _add(open_mappings[-1][1], key, _parse_value(text))
            continue
        if text:
            raise Beyond
        inner: dict[str, object] = {}
        _add(open_mappings[-1][1], key, inner)
        open_mappings.append((below, inner))
    return content


def parse_nested(text: str, *, where: str) -> dict[str, object]:
    """Return the mapping that a YAML text holds. Raises ProjectError with `where`, line and column."""
    try:
        if lines := _list_lines(text):
            return _parse_lines(lines)
    except Beyond:
        pass
    return load_mapping(text, where=where)
