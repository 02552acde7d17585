"""TOML: what is written is read back the same."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ReproError
from repro.formats.toml import format_toml, parse_toml

TEXTS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
MOMENTS = st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(timezone.utc))
LEAVES = TEXTS | st.booleans() | st.integers(-(2**62), 2**62) | MOMENTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_back_the_same(content: dict[str, object]) -> None:
    assert parse_toml(format_toml(content), where="x.toml") == content


def test_arrays_of_tables_stand_last_and_one_table_a_line() -> None:
    content = {"packages": [{"name": "a", "wheels": [{"url": "u"}, {"url": "v"}]}], "created-by": "repro"}
    assert format_toml(content) == (
        'created-by = "repro"\n\n[[packages]]\nname = "a"\nwheels = [\n    {url = "u"},\n    {url = "v"},\n]\n'
    )


def test_a_value_that_toml_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="no TOML value: None"):
        format_toml({"a": None})


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2", "[" * 5000])
def test_what_is_no_toml_is_named_with_its_file(text: str) -> None:
    with pytest.raises(ReproError, match=r"^`x.toml` is not valid TOML: "):
        parse_toml(text, where="x.toml")
