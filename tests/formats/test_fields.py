from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.fields import dump_mapping, load_mapping

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("C",)))


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("a: 1\n", {"a": 1}),
        ("a: {b: [x, null]}\n", {"a": {"b": ["x", None]}}),
        ("1: one\n", {"1": "one"}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}\n", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
    ],
)
def test_a_mapping_is_read(text: str, mapping: dict[str, object]) -> None:
    assert load_mapping(text, where="f.yaml") == mapping


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: 1\na: 2\n", "`f.yaml`, line 2, column 1 is not valid YAML: the key `a` stands twice"),
        ("a:\n  b: 1\n  b: 2\n", "`f.yaml`, line 3, column 3 is not valid YAML: the key `b` stands twice"),
        ("a: [1\n", "`f.yaml`, line 2, column 1 is not valid YAML: "),
        ("", "`f.yaml` is not a YAML mapping of `key: value` lines"),
        ("- a\n", "`f.yaml` is not a YAML mapping of `key: value` lines"),
        ("a: \x01\n", "`f.yaml`"),
        ("? [a]\n: 1\n", "`f.yaml`"),
        ("when: 2020-13-45\n", "`f.yaml`"),
        ("a: !!python/object/apply:os.getcwd []\n", "`f.yaml`, line 1, column 4 is not valid YAML: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, start: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load_mapping(text, where="f.yaml")
    assert caught.value.message.startswith(start)


@given(st.dictionaries(st.text(st.characters(exclude_categories=("C",)), min_size=1), SCALARS))
def test_a_written_mapping_reads_back(mapping: dict[str, object]) -> None:
    assert load_mapping(dump_mapping(mapping), where="f.yaml") == mapping


def test_equal_mappings_give_equal_bytes() -> None:
    assert dump_mapping({"b": 1, "a": "ü"}) == dump_mapping({"a": "ü", "b": 1}) == "a: ü\nb: 1\n"
