r"""The values of one parameter of a sweep, as text: `0.1,0.2`, `range(2,6)`, `uniform(0,1)`.

    axis  = "range(" INTEGER "," INTEGER [ "," INTEGER ] ")"     as Python's range
          / "uniform(" NUMBER "," NUMBER ")"                     any number from the first on, below the second
          / "loguniform(" NUMBER "," NUMBER ")"                  the same, its logarithm evenly spread
          / "choice(" list ")" / list
    list  = item *( "," item )
    item  = "'" *any "'" / '"' *any '"'                          a quote inside is doubled
          / *any                                                 a comma inside is written `\,`

Nothing is taken away: blanks belong to an item, and a backslash before anything but a comma is one. A text that neither
has a comma nor begins with a quote, and is none of the functions, is one value as it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from repro.values import frozen

_CALL = re.compile(r"(range|uniform|loguniform|choice)\((.*)\)", re.DOTALL)
_ANY_CALL = re.compile(r"\s*[A-Za-z_]+\s*\(.*,.*\)\s*", re.DOTALL)
_QUOTES = ("'", '"')
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


@frozen
class Listed:
    """Values that are named, each as it was typed."""

    values: tuple[str, ...]


@frozen
class Stepped:
    """The integers of a range, which may be many."""

    steps: range

    @property
    def values(self) -> Sequence[str]:
        """Each as decimal digits; made when it is asked for."""
        return _Texts(self.steps)


class _Texts(Sequence[str]):
    """The texts of a range's numbers."""

    def __init__(self, steps: range) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, at: int) -> str:  # type: ignore[override]
        return str(self._steps[at])


@frozen
class Uniform:
    """Any number from `low` on and below `high`; where `is_log`, evenly spread by its logarithm."""

    low: float
    high: float
    is_log: bool = False

    def draw(self, chance: float) -> str:
        """Return the number that a chance from 0 on and below 1 means, with 12 digits: further ones differ by libm."""
        if self.is_log:
            low, high = math.log(self.low), math.log(self.high)
            number = math.exp(low + chance * (high - low))
        else:
            number = self.low + chance * (self.high - self.low)
        below = math.nextafter(self.high, self.low)
        return repr(max(self.low, min(below, float(f"{number:.12g}"))))


Finite = Listed | Stepped
Axis = Listed | Stepped | Uniform


def _read_quoted(text: str, start: int) -> tuple[str, int]:
    """Return what stands between the quotes that begin at `start`, and where the item ends. Raises ValueError."""
    quote = text[start]
    found = re.compile(f"{quote}((?:[^{quote}]|{quote}{quote})*){quote}(?!{quote})").match(text, start)
    if found is None:
        raise ValueError(f"the quote before `{text[start + 1 :]}` is not closed")
    if text[found.end() : found.end() + 1] not in ("", ","):
        raise ValueError(f"a comma or the end must follow the quote, and not `{text[found.end() :]}`")
    return found[1].replace(quote * 2, quote), found.end()


def _read_bare(text: str, start: int) -> tuple[str, int]:
    end = start
    while end < len(text) and text[end] != ",":
        end += 2 if text.startswith("\\,", end) else 1
    return text[start:end].replace("\\,", ","), end


def _split(text: str) -> Iterator[str]:
    start = 0
    while True:
        read = _read_quoted if text[start : start + 1] in _QUOTES else _read_bare
        item, end = read(text, start)
        yield item
        if end >= len(text):
            return
        start = end + 1


def _parse_list(text: str) -> Listed:
    values = tuple(_split(text))
    twice = next((each for at, each in enumerate(values) if each in values[:at]), None)
    if twice is not None:
        raise ValueError(f"`{twice}` is given twice")
    return Listed(values=values)


def _parse_range(words: list[str]) -> Stepped:
    if len(words) not in (2, 3) or not all(map(_INTEGER.fullmatch, words)):
        raise ValueError("a range has two or three integers, as Python's has: `range(2,6)` is 2, 3, 4 and 5")
    numbers = [int(word) for word in words]
    if len(numbers) == 3 and numbers[2] == 0:
        raise ValueError("the step of a range cannot be 0")
    steps = range(*numbers)
    if not steps:
        raise ValueError("the range is empty: its end does not belong to it")
    return Stepped(steps=steps)


def _parse_uniform(words: list[str], *, is_log: bool) -> Uniform:
    name = "loguniform" if is_log else "uniform"
    try:
        low, high = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"`{name}` has two numbers, the lower first: `{name}(0.001,0.1)`") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
        raise ValueError(f"`{name}` has two finite numbers, the lower first")
    if is_log and low <= 0:
        raise ValueError("`loguniform` has numbers above 0 only")
    return Uniform(low=low, high=high, is_log=is_log)


def parse_axis(text: str) -> Axis:
    """Return the values that a text means. Raises ValueError with what is wrong with it."""
    call = _CALL.fullmatch(text)
    if call is None:
        if _ANY_CALL.fullmatch(text):
            raise ValueError(
                "it looks like a function, and there are `range`, `uniform`, `loguniform` and `choice` only; "
                "a value that looks so stands in quotes"
            )
        return _parse_list(text)
    name, inner = call.groups()
    if name == "choice":
        return _parse_list(inner)
    words = inner.split(",")
    return _parse_range(words) if name == "range" else _parse_uniform(words, is_log=name == "loguniform")


def _format_item(value: str) -> str:
    if "," not in value and not value.startswith(_QUOTES) and not value.endswith("\\"):
        return value
    return "'" + value.replace("'", "''") + "'"


def _format_list(values: Sequence[str]) -> str:
    text = ",".join(map(_format_item, values))
    return f"choice({text})" if _CALL.fullmatch(text) or _ANY_CALL.fullmatch(text) else text


def format_axis(axis: Axis) -> str:
    """Return the text that means the values of an axis."""
    match axis:
        case Listed(values=values):
            return _format_list(values)
        case Stepped(steps=steps):
            step = f",{steps.step}" if steps.step != 1 else ""
            return f"range({steps.start},{steps.stop}{step})"
        case Uniform(low=low, high=high, is_log=is_log):
            return f"{'loguniform' if is_log else 'uniform'}({low!r},{high!r})"
