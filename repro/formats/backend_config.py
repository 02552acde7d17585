"""The configuration of a backend: one JSON object (RFC 8259), which means something to that backend alone."""

from __future__ import annotations

import json
from collections.abc import Mapping

Config = Mapping[str, object]


def _refuse_constant(word: str) -> object:
    raise ValueError(f"`{word}` is no value of JSON")


def _read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands in it twice")
    return found


def parse_backend_config(text: str) -> Config:
    """Return the object of a text. Raises ValueError with one sentence, with line and column where one is wrong."""
    try:
        found = json.loads(text, object_pairs_hook=_read_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "`null`"}
        raise ValueError(f"it is {kinds.get(type(found), 'a number')}, and not an object `{{…}}`")
    return found


def format_backend_config(config: Config) -> str:
    """Return a configuration as text, keys sorted. Raises ValueError and TypeError for what JSON has not."""
    return json.dumps(config, sort_keys=True, allow_nan=False)
