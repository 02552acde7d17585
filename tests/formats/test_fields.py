from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ProjectError
from repro.formats.fields import dump_mapping, load_mapping, read_mapping, read_text

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
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2, column 1 is not valid YAML: the key `a` stands twice"),
        ("a:\n  b: 1\n  b: 2\n", "line 3, column 3 is not valid YAML: the key `b` stands twice"),
        ("a: [{b: 1, 'b': 2}]\n", "line 1, column 12 is not valid YAML: the key `b` stands twice"),
        ("a: [1\n", "line 2, column 1 is not valid YAML: did not find expected ',' or ']'"),
        ("", "line 1, column 1 is not a YAML mapping of `key: value` lines"),
        ("# list\n- a\n", "line 2, column 1 is not a YAML mapping of `key: value` lines"),
        ("!!set {a}\n", "line 1, column 1 is not a YAML mapping of `key: value` lines"),
        ("b: 1\na: \x01\n", "line 2, column 4 is not valid YAML: control characters are not allowed (U+0001)"),
        ("? [a]\n: 1\n", "line 1, column 3 is not valid YAML: found unhashable key"),
        ("a: 1\nwhen: 2020-13-45\n", "line 2, column 7 is not valid YAML: `2020-13-45` is not a timestamp"),
        ("a: " + "[" * 100_000, "line 1, column 1003 is not valid YAML: it is nested more than 1000 deep"),
        ("- " * 50_000, "line 1, column 2001 is not valid YAML: it is nested more than 1000 deep"),
        ("a: !!bool x\n", "line 1, column 4 is not valid YAML: `x` is not a bool"),
        ("a: !!timestamp x\n", "line 1, column 4 is not valid YAML: `x` is not a timestamp"),
        (
            "a: !!python/name:os.getcwd\n",
            "line 1, column 4 is not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.getcwd'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    pytest.importorskip("yaml.cyaml", reason="libyaml words its faults otherwise than pure Python")
    with pytest.raises(ProjectError) as caught:
        load_mapping(text, where="f.yaml")
    assert caught.value.message == f"`f.yaml`, {message}"


def test_a_merged_key_may_be_overridden_before_it_is_merged_again() -> None:
    text = "base: &b {x: 1}\na: {mid: &m {<<: *b, x: 2}}\ntop: {<<: *m, y: 3}\n"
    assert load_mapping(text, where="f.yaml")["top"] == {"x": 2, "y": 3}


def test_a_mapping_that_holds_itself_is_read() -> None:
    mapping = load_mapping("a: &a {again: *a}\n", where="f.yaml")
    inner = mapping["a"]
    assert isinstance(inner, dict)
    assert inner["again"] is inner


@given(st.text())
def test_any_text_is_a_mapping_or_one_told_fault(text: str) -> None:
    told = None
    try:
        load_mapping(text, where="f.yaml")
    except ProjectError as error:
        told = error.message
    assert told is None or told.startswith("`f.yaml`, line ")


def test_single_values_are_read_as_text() -> None:
    faults: list[str] = []
    mapping = {"a": True, "b": 0.5, "c": "x", "d": None, "e": [1], "f": {}}
    texts = [read_text(mapping, key, place="top", faults=faults) for key in "abcdefg"]
    assert texts == ["true", "0.5", "x", None, None, None, None]
    assert faults == ["not a single value in `top.e`", "not a single value in `top.f`"]


def test_mappings_are_read_with_text_keys() -> None:
    faults: list[str] = []
    mapping = {"a": {1: "x"}, "b": [1], "c": None}
    assert [read_mapping(mapping, key, place="", faults=faults) for key in "abcd"] == [{"1": "x"}, {}, {}, {}]
    assert faults == ["not a mapping in `b`"]


@given(st.dictionaries(st.text(st.characters(exclude_categories=("C",)), min_size=1), SCALARS))
def test_a_written_mapping_reads_back(mapping: dict[str, object]) -> None:
    assert load_mapping(dump_mapping(mapping), where="f.yaml") == mapping


def test_equal_mappings_give_equal_bytes() -> None:
    assert dump_mapping({"b": 1, "a": "ü"}) == dump_mapping({"a": "ü", "b": 1}) == "a: ü\nb: 1\n"
