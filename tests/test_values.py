from __future__ import annotations

import copy
import dataclasses
import inspect
import keyword
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.values import asdict, field, frozen, list_fields, mutable, replace


def _mangle(name: str) -> str:
    """Return a name as the body of a class `Some` has it (Python's reference, "Private name mangling")."""
    return f"_Some{name}" if name.startswith("__") and not name.endswith("__") else name


NAMES = st.lists(
    st.from_regex(r"[a-z_]{1,6}", fullmatch=True)
    .filter(lambda each: not keyword.iskeyword(each) and each != "self")
    .map(_mangle),
    unique=True,
    max_size=6,
)
CONTENTS = st.none() | st.integers(0, 3) | st.floats() | st.text(max_size=3) | st.tuples(st.booleans())
KINDS = st.tuples(st.sampled_from(["needed", "default", "factory"]), CONTENTS, st.booleans(), st.booleans())


@frozen
class Point:
    """A place."""

    ORIGIN: ClassVar[int] = 0

    x: int
    y: int = 0
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    note: str | None = field(default=None, repr=False)

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.x + self.y


@frozen
class Named(Point):
    """A place with a name."""

    name: str
    y: int = 5
    upper: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "upper", self.name.upper())


@mutable
class Draft:
    """What is gathered."""

    lines: list[str] = field(default_factory=list)
    is_done: bool = False


@frozen
class Tree:
    """A value with values inside."""

    points: tuple[Point, ...] = ()
    by_name: Mapping[str, Point] = field(default_factory=dict)


def _make_pair(names: list[str], kinds: list[tuple[str, object, bool, bool]]) -> tuple[Any, Any]:
    """Return the class of some fields as a value and as a dataclass."""

    def make(field: Any) -> dict[str, object]:
        body: dict[str, object] = {"__annotations__": dict.fromkeys(names, "object"), "__module__": __name__}
        for name, (kind, content, shown, compared) in zip(names, kinds, strict=False):
            has: dict[str, dict[str, object]] = {
                "needed": {},
                "default": {"default": content},
                "factory": {"default_factory": lambda c=content: c},
            }
            body[name] = field(repr=shown, compare=compared, **has[kind])
        return body

    made: Any = frozen(type("Some", (), make(field)))
    return made, dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(type("Some", (), make(dataclasses.field)))


def _try(deed: Any) -> object:
    try:
        return deed()
    except TypeError as error:
        return str(error)


@given(NAMES, st.lists(KINDS, min_size=6, max_size=6), st.data())
def test_a_value_is_what_a_dataclass_is(names: list[str], kinds: Any, data: st.DataObject) -> None:
    ours, theirs = _make_pair(names, kinds)
    given_names = st.dictionaries(st.sampled_from([*names, "other"]), CONTENTS)
    for _ in range(3):
        words, others = data.draw(given_names), data.draw(given_names)
        assert _try(lambda: repr(ours(**words))) == _try(lambda: repr(theirs(**words)))  # noqa: B023
        assert _try(lambda: ours(**words) == ours(**others)) == _try(lambda: theirs(**words) == theirs(**others))  # noqa: B023
        assert _try(lambda: hash(ours(**words))) == _try(lambda: hash(theirs(**words)))  # noqa: B023


def test_the_hundredth_value_is_like_the_first() -> None:
    values = [Named(x=1, name="a", tags={"k": "v"}) for _ in range(100)]
    assert len({*values}) == 1
    assert repr(values[0]) == repr(values[99]) == "Named(x=1, y=5, tags={'k': 'v'}, name='a', upper='A')"
    assert values[99].tags is not values[98].tags or values[99].tags == {"k": "v"}
    assert Point(x=1).tags is not Point(x=1).tags


@pytest.mark.parametrize("words", [{}, {"x": 1, "z": 2}, {"z": 2}], ids=str)
def test_a_wrong_call_is_said_as_of_a_function(words: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) (missing 1 required|got an unexpected) keyword"):
        Point(**words)
    with pytest.raises(TypeError, match="positional"):
        Point(1)  # type: ignore[call-arg]


def test_a_frozen_value_cannot_be_changed() -> None:
    point = Point(x=1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")


def test_a_mutable_one_can_and_has_no_hash() -> None:
    draft = Draft()
    draft.lines.append("a")
    draft.is_done = True
    assert draft == Draft(lines=["a"], is_done=True)
    assert Draft().lines == []
    with pytest.raises(TypeError, match="unhashable"):
        hash(draft)
    with pytest.raises(AttributeError):
        draft.other = 1  # type: ignore[attr-defined]


def test_values_of_two_classes_are_not_equal() -> None:
    assert Point(x=1) != Named(x=1, name="")
    assert Point(x=1) != (1, 0)  # type: ignore[comparison-overlap]
    assert Point(x=1).total == 1
    assert Point.ORIGIN == 0


@pytest.mark.parametrize("deed", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal(deed: Any) -> None:
    for value in (Point(x=1, tags={"a": "b"}), Named(x=1, name="n"), Draft(lines=["a"])):
        assert deed(value) == value


def test_replace_makes_another() -> None:
    named = Named(x=1, name="a", tags={"k": "v"})
    for change in (replace, dataclasses.replace, Named.__replace__):  # type: ignore[attr-defined] # of copy.replace
        changed = change(named, name="b")
        assert (changed.name, changed.upper, changed.x, changed.tags) == ("b", "B", 1, {"k": "v"})
        with pytest.raises(TypeError):
            change(named, other=1)


def test_asdict_goes_into_values() -> None:
    tree = Tree(points=(Point(x=1),), by_name={"a": Point(x=2)})
    assert asdict(tree) == dataclasses.asdict(tree)
    assert asdict(tree)["points"] == ({"x": 1, "y": 0, "tags": {}, "note": None},)


def test_dataclasses_and_inspect_know_values() -> None:
    assert dataclasses.is_dataclass(Named)
    assert tuple(each.name for each in dataclasses.fields(Named)) == list_fields(Named)
    assert list_fields(Named) == ("x", "y", "tags", "note", "name", "upper")
    assert list(inspect.signature(Named).parameters) == ["x", "y", "tags", "note", "name"]
    assert inspect.signature(Named).parameters["y"].default == 5
