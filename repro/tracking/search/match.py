"""Tell what matches a clause: the one place that knows what each comparator means."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from repro.tracking.search.clauses import Clause, Comparator, Entity, Value

T = TypeVar("T")
Test = Callable[[Value | None], bool]
Read = Callable[[T, Entity, str], "Value | Sequence[Value] | None"]
"""Give what a thing has for a key, None for nothing; for a dataset's key what each of its datasets has."""

_OPERATORS: dict[Comparator, Callable[..., bool]] = {
    Comparator.EQUAL: operator.eq,
    Comparator.UNEQUAL: operator.ne,
    Comparator.LESS: operator.lt,
    Comparator.AT_MOST: operator.le,
    Comparator.MORE: operator.gt,
    Comparator.AT_LEAST: operator.ge,
}


def make_like(pattern: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Return the test of SQL's LIKE: `%` is any text, also of several lines, `_` one character, nothing is escaped.

    It never tries a place twice, so no pattern makes it slow.
    """
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    parts = pattern.split("%")
    first, *rest = (
        re.compile("".join("." if each == "_" else re.escape(each) for each in part), flags) for part in parts
    )
    last_length = len(parts[-1])

    def is_like(text: str) -> bool:
        if not rest:
            return first.fullmatch(text) is not None
        found = first.match(text)
        for part in rest[:-1]:
            found = found and part.search(text, found.end())
        start = len(text) - last_length
        return found is not None and start >= found.end() and rest[-1].match(text, start) is not None

    return is_like


def make_test(clause: Clause) -> Test:
    """Return whether a value of the clause's key, None where there is none, is what the clause asks for."""
    wanted = clause.value
    if clause.comparator is Comparator.IS_NULL:
        return lambda value: value is None
    if clause.comparator is Comparator.IS_NOT_NULL:
        return lambda value: value is not None
    if clause.comparator in (Comparator.LIKE, Comparator.ILIKE):
        is_like = make_like(str(wanted), ignore_case=clause.comparator is Comparator.ILIKE)
        return lambda value: value is not None and is_like(str(value))
    if isinstance(wanted, tuple):
        known = frozenset(wanted)
        return lambda value: value is not None and (value in known) == (clause.comparator is Comparator.IN)
    compare = _OPERATORS[clause.comparator]
    return lambda value: value is not None and compare(value, wanted)


def matches(item: T, clauses: Iterable[tuple[Clause, Test]], read: Read[T]) -> bool:
    """Tell whether an item is what every clause asks for; one of its datasets is enough."""
    for clause, test in clauses:
        value = read(item, clause.entity, clause.key)
        if clause.entity is Entity.DATASET:
            if not any(test(each) for each in (value if isinstance(value, (tuple, list)) else ())):
                return False
        elif not test(value if isinstance(value, (str, int, float)) else None):
            return False
    return True


def select(items: Iterable[T], clauses: Sequence[Clause], read: Read[T]) -> list[T]:
    """Return the items that match all clauses, in their order."""
    tests = [(clause, make_test(clause)) for clause in clauses]
    return [item for item in items if matches(item, tests, read)]
