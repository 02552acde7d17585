"""Sort what was found as MLflow does: what has no value comes last in both directions, NaN just before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from repro.tracking.search.clauses import Entity, Order, Value
from repro.tracking.search.match import Read

T = TypeVar("T")


def make_rank(*, ascending: bool) -> Callable[[Value | None], tuple[int, Value]]:
    """Return the key that sorts values, for a sort that is reversed where it is not ascending."""
    place, nan, nothing = (0, (1, 0), (2, 0)) if ascending else (2, (1, 0), (0, 0))

    def rank(value: Value | None) -> tuple[int, Value]:
        if value is None:
            return nothing
        return nan if value != value else (place, value)  # noqa: PLR0124

    return rank


def sort_by(items: Sequence[T], orders: Sequence[Order], read: Read[T]) -> list[T]:
    """Sort items by several orders; ties stay in the order they have."""
    found = list(items)
    for order in reversed(orders):
        rank = make_rank(ascending=order.ascending)

        def key(item: T, order: Order = order, rank: Callable[[Value | None], tuple[int, Value]] = rank) -> object:
            value = read(item, order.entity, order.key)
            return rank(value if isinstance(value, (str, int, float)) else None)

        found.sort(key=key, reverse=not order.ascending)  # type: ignore[arg-type]
    return found


def sort_naturally(items: Iterable[T], read: Read[T], *, newest: str, tie: str) -> list[T]:
    """Sort items by the number of an attribute, the highest first, and what is equal in it by another attribute."""
    found = sorted(items, key=lambda item: str(read(item, Entity.ATTRIBUTE, tie)))
    return sort_by(found, [Order(entity=Entity.ATTRIBUTE, key=newest, ascending=False)], read)
