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
_FLOAT = compile_later(r"-?[0-9]+\.[0-9]+")
_COMMAND = compile_later(r"[A-Za-z/][A-Za-z0-9_./+@={}-]*(?: [A-Za-z0-9_./+@={}-]+)*")
_FLOW_SCALAR = r"[A-Za-z/][A-Za-z0-9_./-]*|-?[0-9]+(?:\.[0-9]+)?|\"[A-Za-z0-9_./ -]*\"|'[A-Za-z0-9_./ -]*'"
_FLOW = compile_later(rf"\{{ ?([a-z_]+: (?:{_FLOW_SCALAR})(?:, [a-z_]+: (?:{_FLOW_SCALAR}))*) ?\}}")


def _parse_single(text: str) -> object:
    if _FLOAT.fullmatch(text):
        return float(text)
    if _COMMAND.fullmatch(text) and text.lower() not in WORDS:
        return text
    return parse_scalar(text)


def _add(content: dict[str, object], key: str, value: object) -> None:
    if key in content or key.lower() in WORDS:
        raise Beyond
    content[key] = value


def _parse_value(text: str) -> object:
    if not text.startswith("{"):
        return _parse_single(text)
    match = _FLOW.fullmatch(text)
    if not match:
        raise Beyond
    content: dict[str, object] = {}
    for part in match[1].split(", "):
        key, _, value = part.partition(": ")
        _add(content, key, _parse_single(value))
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
