"""The filter and the order of a search for models: MLflow's grammar, clauses joined by AND, over values in memory.

`name LIKE 'wine%' AND tags.team = 'x'`, `metrics.rmse < 0.8`, `run_id IN ('a', 'b')`; keys with other characters stand
in backticks or double quotes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from repro.errors import TrackingError

Row = Mapping[str, str | float | None]
"""What a clause looks at: `name`, `tags.team`, `metrics.rmse` and so on."""

_CLAUSE = re.compile(
    r"""\s*
    (?:(?P<kind>[A-Za-z_]+)\.)?(?P<key>`[^`]*`|"[^"]*"|[\w.\-/]+)\s*
    (?P<op>!=|<=|>=|=|<|>|\b(?:NOT\s+IN|IN|LIKE|ILIKE)\b|\bIS\s+NOT\s+NULL\b|\bIS\s+NULL\b)\s*
    (?P<value>'[^']*'|"[^"]*"|\([^()]*\)|[-+\w.]+)?\s*
    (?:\bAND\b|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_ORDER = re.compile(
    r"(?:(?P<kind>[A-Za-z_]+)\.)?(?P<key>`[^`]+`|\"[^\"]+\"|\S+?)(?:\s+(?P<way>ASC|DESC))?", re.IGNORECASE
)
_KINDS = {
    "attribute": "", "attributes": "", "attr": "", "tag": "tags.", "tags": "tags.",
    "metric": "metrics.", "metrics": "metrics.", "param": "params.", "params": "params.",
    "parameter": "params.", "parameters": "params.",
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One comparison; `key` is a key of a Row."""

    key: str
    op: str
    values: tuple[str, ...]

    def matches(self, row: Row) -> bool:
        """Tell whether it holds; what a row has not got equals nothing. Raises TrackingError."""
        value = row.get(self.key)
        if self.op in ("IS NULL", "IS NOT NULL"):
            return (value is None) == (self.op == "IS NULL")
        if value is None:
            return False
        if self.op in ("IN", "NOT IN"):
            return (str(value) in self.values) == (self.op == "IN")
        if self.op in ("LIKE", "ILIKE"):
            return _is_like(str(value), self.values[0], ignore_case=self.op == "ILIKE")
        return _COMPARISONS[self.op](value, _as_number(self.values[0]) if _is_number(value) else self.values[0])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise TrackingError(f"`{text}` is compared with a number, and is none") from error


def _is_like(value: str, pattern: str, *, ignore_case: bool) -> bool:
    """Match as SQL does: `%` is any text, `_` one character."""
    parts = (".*" if each == "%" else "." if each == "_" else re.escape(each) for each in pattern)
    return re.fullmatch("".join(parts), value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _join_key(kind: str | None, key: str, text: str) -> str:
    if kind is not None and kind.lower() not in _KINDS:
        raise TrackingError(
            f"`{kind}` in `{text}` is nothing that models have", hint="attributes, tags, params and metrics"
        )
    return (_KINDS[kind.lower()] if kind else "") + (key[1:-1] if key[0] in '`"' else key)


def _parse_values(value: str | None, op: str, text: str) -> tuple[str, ...]:
    if op.endswith("NULL"):
        if value is not None:
            raise TrackingError(f"`{op}` in `{text}` has a value behind it")
        return ()
    if value is None or (value[0] == "(") != (op in ("IN", "NOT IN")):
        raise TrackingError(
            f"`{op}` in `{text}` needs {'a list in parentheses' if 'IN' in op.split() else 'one value'}"
        )
    if value[0] != "(":
        return (value[1:-1] if value[0] in "'\"" else value,)
    return tuple(each.strip().strip("'\"") for each in value[1:-1].split(","))


def parse_filter(text: str) -> tuple[Clause, ...]:
    """Return the clauses of a filter; none for an empty one. Raises TrackingError."""
    clauses = []
    place = 0
    while place < len(text.rstrip()):
        match = _CLAUSE.match(text, place)
        if not match:
            raise TrackingError(
                f"`{text[place:].strip()}` is no clause of a filter",
                hint="for example: name LIKE 'wine%' AND tags.a = 'b'",
            )
        op = " ".join(match["op"].upper().split())
        key = _join_key(match["kind"], match["key"], text)
        clauses.append(Clause(key=key, op=op, values=_parse_values(match["value"], op, text)))
        place = match.end()
    if re.search(r"\bAND\s*$", text, re.IGNORECASE):
        raise TrackingError(f"`{text}` ends with AND")
    return tuple(clauses)


def check_keys(clauses: tuple[Clause, ...], attributes: frozenset[str]) -> None:
    """Refuse a clause on an attribute that there is not. Raises TrackingError."""
    for clause in clauses:
        if not clause.key.startswith(("tags.", "params.", "metrics.")) and clause.key not in attributes:
            raise TrackingError(f"models have no attribute `{clause.key}`", hint=", ".join(sorted(attributes)))


def parse_order(text: str, attributes: frozenset[str]) -> tuple[str, bool]:
    """Return the key of an order and whether it descends: `name DESC`, `metrics.rmse`. Raises TrackingError."""
    match = _ORDER.fullmatch(text.strip())
    if not match:
        raise TrackingError(f"`{text}` is no order", hint="for example: name DESC")
    key = _join_key(match["kind"], match["key"], text)
    key = "last_updated_timestamp" if key == "timestamp" else key
    if not key.startswith(("tags.", "params.", "metrics.")) and key not in attributes:
        raise TrackingError(f"models cannot be ordered by `{key}`", hint=", ".join(sorted(attributes)))
    return key, (match["way"] or "ASC").upper() == "DESC"


def sort_rows(rows: list[Row], orders: list[tuple[str, bool]]) -> list[int]:
    """Return the places of rows in order; what a row has not got comes last."""
    places = list(range(len(rows)))
    for key, descends in reversed(orders):
        having = [place for place in places if rows[place].get(key) is not None]
        lacking = [place for place in places if rows[place].get(key) is None]
        having.sort(key=lambda place: _rank(rows[place][key]), reverse=descends)
        places = having + lacking
    return places


def _rank(value: str | float | None) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0.0, str(value)
