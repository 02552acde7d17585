"""JSON with comments and trailing commas, as VS Code has it: read, and added to without touching what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from repro.errors import ProjectError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)
_INDENT = "    "


def _blank(text: str) -> str:
    """Return the text with spaces for comments and trailing commas, each character at its old place."""
    return _TOKEN.sub(lambda match: match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0]), text)


def parse_jsonc(text: str, *, where: str) -> dict[str, object]:
    """Return the object a text holds; an empty text is an empty one. Raises ProjectError with line and column."""
    blanked = _blank(text)
    if not blanked.strip():
        return {}
    try:
        content = json.loads(blanked)
    except json.JSONDecodeError as error:
        raise ProjectError(f"`{where}` is not JSON: {error.msg}, line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise ProjectError(f"`{where}` is nested too deeply") from error
    if not isinstance(content, dict):
        raise ProjectError(f"`{where}` is not a JSON object")
    return content


def _find_end(blanked: str, key: str | None) -> int:
    """Return where the list of a top-level `key` ends, with None where the object itself does."""
    depth, wanted, after = 0, -1, ""
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]', blanked):
        token = match[0]
        if token in "}]":
            if depth == (1 if key is None else wanted):
                return match.start()
            depth -= 1
        elif token in "{[":
            depth += 1
            if key is not None and depth == 2 and after == key and token == "[":
                wanted = depth
        elif token.startswith('"') and depth == 1:
            after = json.loads(token)
        elif token == "," and depth == 1:
            after = ""
    raise ValueError(key)


def _format_items(items: Sequence[Mapping[str, object]], depth: int) -> str:
    texts = (json.dumps(item, indent=len(_INDENT), ensure_ascii=False) for item in items)
    return ",\n".join("\n".join(_INDENT * depth + line for line in text.splitlines()) for text in texts)


def _has_trailing_comma(text: str, start: int, end: int) -> bool:
    return any(match[0] == "," and start <= match.start() < end for match in _TOKEN.finditer(text))


def _insert(text: str, blanked: str, end: int, addition: str, *, depth: int) -> str:
    """Return the text with an addition on lines of its own before `end`, behind the comments there."""
    place = len(blanked[:end].rstrip())
    needs_none = blanked[place - 1] in "[{" or _has_trailing_comma(text, place, end)
    gap = text[place:end]
    kept = gap.rstrip()
    space = gap[len(kept) :] if "\n" in gap[len(kept) :] else "\n" + _INDENT * depth
    return f"{text[:place]}{'' if needs_none else ','}{kept}\n{addition}{space}{text[end:]}"


def append_items(text: str, key: str, items: Sequence[Mapping[str, object]], *, where: str) -> str:
    """Return a text whose top-level list `key` has `items` at its end. Raises ProjectError."""
    content = parse_jsonc(text, where=where)
    before = content.get(key, [])
    if not isinstance(before, list):
        raise ProjectError(f"`{key}` in `{where}` is not a list")
    if not content and not text.strip():
        return json.dumps({key: list(items)}, indent=len(_INDENT), ensure_ascii=False) + "\n"
    blanked = _blank(text)
    if key in content:
        added = _insert(text, blanked, _find_end(blanked, key), _format_items(items, 2), depth=1)
    else:
        block = f"{_INDENT}{json.dumps(key)}: [\n{_format_items(items, 2)}\n{_INDENT}]"
        added = _insert(text, blanked, _find_end(blanked, None), block, depth=0)
    if parse_jsonc(added, where=where) != {**content, key: [*before, *items]}:
        raise ProjectError(f"`{where}` is written in a way that nothing can be added to")
    return added
