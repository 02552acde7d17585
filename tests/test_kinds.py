from __future__ import annotations

import pickle

import pytest

from repro.kinds import Generic, NamedTuple, Protocol, TypeVar
from repro.patterns import compile_later

T = TypeVar("T")


class Spot(NamedTuple):
    """A place."""

    x: int
    y: int = 2

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.x + self.y


class Reader(Protocol):
    """What reads."""

    def read(self) -> str:
        """Return what is read."""


class Shelf(Generic[T]):
    """What holds some."""

    content: T


def test_a_named_tuple_is_one() -> None:
    spot = Spot(1)
    assert spot == (1, 2) == Spot(x=1, y=2)
    assert (spot.total, spot._fields, spot._replace(y=5).total) == (3, ("x", "y"), 6)
    assert repr(spot) == "Spot(x=1, y=2)"
    assert pickle.loads(pickle.dumps(spot)) == spot
    assert not hasattr(spot, "__dict__")
    with pytest.raises(TypeError, match="missing 1 required"):
        Spot()  # type: ignore[call-arg]


def test_bases_for_type_checkers_do_nothing() -> None:
    class Book:
        def read(self) -> str:
            return "text"

    reader: Reader = Book()
    shelf: Shelf[int] = Shelf()
    shelf.content = 1
    assert (reader.read(), shelf.content) == ("text", 1)


def test_a_pattern_is_compiled_when_it_is_used() -> None:
    compile_later("(")
    pattern = compile_later("(a)(B)", 2)  # re.IGNORECASE
    assert pattern.fullmatch("ab") is not None
    assert pattern.sub(r"\2", "xAb") == "xb"
    assert pattern.pattern == "(a)(B)"
