"""Choose the points of a sweep: all of a grid, or a random sample that its seed gives again."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping

from repro.errors import UsageError
from repro.formats.axis import Axis, Finite, Uniform

Point = dict[str, str]
MAX_POINTS = 100_000


def _count(axes: Mapping[str, Finite]) -> int:
    return math.prod(len(axis.values) for axis in axes.values())


def _pick(axes: Mapping[str, Finite], number: int) -> Point:
    """Return a point of a grid by its number; the last axis turns fastest."""
    point: Point = {}
    for name, axis in reversed(tuple(axes.items())):
        number, at = divmod(number, len(axis.values))
        point[name] = axis.values[at]
    return dict(reversed(tuple(point.items())))


def _draw_numbers(size: int, count: int, chance: random.Random) -> Iterator[int]:
    """Yield different numbers below `size`: a shuffle that is cut short (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for at in range(min(count, size)):
        other = at + int(chance.random() * (size - at))
        yield moved.get(other, other)
        moved[other] = moved.get(at, at)


def _draw_point(axes: Mapping[str, Axis], chance: random.Random) -> Point:
    point: Point = {}
    for name, axis in axes.items():
        if isinstance(axis, Uniform):
            point[name] = axis.draw(chance.random())
        elif len(axis.values) == 1:
            point[name] = axis.values[0]
        else:
            point[name] = axis.values[int(chance.random() * len(axis.values))]
    return point


def _refuse_many(count: int) -> None:
    if count > MAX_POINTS:
        raise UsageError(f"the sweep would have {count} points", hint=f"`--sample N` takes some; {MAX_POINTS} at most")


def choose_points(axes: Mapping[str, Axis], *, sample: int | None, seed: int) -> tuple[Point, ...]:
    """Return the points to run: the grid without `sample`, else so many of it, or all where it has no more.

    With a `uniform` axis a sample is drawn point by point. The same seed gives the same points, in the same order, with
    every version of Python, and a larger sample begins with a smaller one. Raises UsageError.
    """
    finite = {name: axis for name, axis in axes.items() if not isinstance(axis, Uniform)}
    endless = next((name for name in axes if name not in finite), None)
    if sample is None and endless:
        raise UsageError(f"`{endless}` has no end of values", hint="`--sample N` says how many points to draw")
    _refuse_many(_count(finite) if sample is None else sample)
    if sample is None:
        return tuple(_pick(finite, number) for number in range(_count(finite)))
    chance = random.Random(seed)  # only `random()` is promised to stay as it is
    if endless:
        return tuple(_draw_point(axes, chance) for _ in range(sample))
    return tuple(_pick(finite, number) for number in _draw_numbers(_count(finite), sample, chance))
