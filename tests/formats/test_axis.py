"""Read and write the values of a sweep's parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.axis import Axis, Listed, Stepped, Uniform, format_axis, parse_axis


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.2", ("0.1", "0.2")),
        ("", ("",)),
        ("a,,b", ("a", "", "b")),
        ("1, 2", ("1", " 2")),
        ("C:\\x\\,y,z", ("C:\\x,y", "z")),
        ("a\\b,\\", ("a\\b", "\\")),
        ("'1,2','it''s'", ("1,2", "it's")),
        ('"a""b",\'"\'', ('a"b', '"')),
        ("it's,b", ("it's", "b")),
        ("'range(2,6)'", ("range(2,6)",)),
        ("f(x)", ("f(x)",)),
        ("choice(a,b)", ("a", "b")),
        ("1e-3,10e4", ("1e-3", "10e4")),
        ("; rm -rf $HOME,-x\n", ("; rm -rf $HOME", "-x\n")),
    ],
)
def test_a_list_has_its_values_as_they_are_typed(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text) == Listed(values=values)


@pytest.mark.parametrize(
    ("text", "values"),
    [("range(2,6)", ["2", "3", "4", "5"]), ("range(3, 0, -2)", ["3", "1"]), ("range(-1,+1)", ["-1", "0"])],
)
def test_a_range_is_pythons(text: str, values: list[str]) -> None:
    axis = parse_axis(text)
    assert isinstance(axis, Stepped)
    assert list(axis.values) == values


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("range(6)", "two or three integers"),
        ("range(0,1.5)", "two or three integers"),
        ("range(0,9,0)", "cannot be 0"),
        ("range(6,2)", "is empty"),
        ("uniform(0)", "two numbers"),
        ("uniform(1,1)", "the lower first"),
        ("uniform(0,inf)", "finite"),
        ("loguniform(0,1)", "above 0"),
        ("a,b,a", "`a` is given twice"),
        ("'a", "the quote before `a` is not closed"),
        ("'a'b", "must follow the quote, and not `b`"),
        ("rnage(2,6)", "`range`, `uniform`, `loguniform` and `choice` only"),
    ],
)
def test_what_means_nothing_is_said(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_axis(text)


TEXTS = st.text(max_size=8) | st.sampled_from(["range(1", "2)", "f(", ",", "\\", "'", '"'])
AXES = st.one_of(
    st.lists(TEXTS, min_size=1, unique=True)
    .map(lambda values: Listed(values=tuple(values))),
    st.builds(range, st.integers(), st.integers(), st.integers().filter(bool)).filter(bool)
    .map(lambda steps: Stepped(steps=steps)),
    st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.booleans()).filter(lambda each: each[0] < each[1])
    .map(lambda each: Uniform(low=each[0], high=each[1], is_log=each[2])),
)  # fmt: skip


@given(AXES)
def test_what_is_written_is_read_as_the_same(axis: Axis) -> None:
    assert parse_axis(format_axis(axis)) == axis


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_number_is_drawn_inside_its_limits(low: float, high: float, is_log: bool, chance: float) -> None:
    if low < high:
        assert low <= float(Uniform(low=low, high=high, is_log=is_log).draw(chance)) < high
