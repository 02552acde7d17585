"""Bodies of MLflow's scoring protocol."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.formats.scoring import (
    Array,
    Frame,
    Input,
    ScoringBody,
    ScoringError,
    find_kind,
    join_inputs,
    make_array,
    make_frame,
    parse_body,
    parse_columns_body,
    parse_content_type,
    read_csv,
    read_table,
    unpack,
)


def read_frame(content: object) -> dict[str | int, tuple[str, list[object]]]:
    """Return each column's type and values."""
    table = read_table(parse_body(content))
    assert table is not None
    return {each.name: (each.dtype, unpack(each.values, each.dtype)) for each in make_frame(table).columns}


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ({"columns": ["a", "b"], "data": [[1, 0.5], [2, 1]]}, {"a": ("<i8", [1, 2]), "b": ("<f8", [0.5, 1.0])}),
        ({"data": [[1], [2]]}, {0: ("<i8", [1, 2])}),
        ({"columns": ["a"], "data": [1, 2]}, {"a": ("<i8", [1, 2])}),
        ({"columns": ["a"], "data": [[True], [False]]}, {"a": ("|b1", [1, 0])}),
        ({"columns": ["a"], "data": [["x"], [None]]}, {"a": ("O", ["x", None])}),
        ({"columns": ["a"], "data": [[2**70]]}, {"a": ("O", [2**70])}),
        ({"columns": [], "data": []}, {}),
    ],
)
def test_a_split_frame_has_the_types_that_pandas_finds(content: object, columns: object) -> None:
    assert read_frame({"dataframe_split": content}) == columns


def test_a_missing_number_is_nan_and_a_missing_key_a_missing_value() -> None:
    found = read_frame({"dataframe_records": [{"a": 1}, {"b": "x"}]})
    assert found["b"] == ("O", [None, "x"])
    assert found["a"][0] == "<f8"
    assert math.isnan(float(str(found["a"][1][1])))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "Received a list."),
        ({}, "Received dictionary with input fields: []."),
        ({"instances": [1], "inputs": [1]}, "exactly one of the input fields"),
        ({"inputs": [1], "params": [1]}, "`params` must be a dictionary. Received a list."),
        ({"dataframe_split": []}, "Dataframe split format must be a dictionary. Got list."),
        ({"dataframe_split": {"data": [], "rows": 1}}, "Got ['data', 'rows']."),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}}, "has 1 values in row 1, and 2 columns"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "has a name twice"),
        ({"dataframe_split": {"columns": [["a"]], "data": [[1]]}}, "is no list of names"),
        ({"dataframe_split": {"data": [[1]], "index": [1, 2]}}, "has not one value for each row"),
        ({"dataframe_records": {"a": 1}}, "Dataframe records format must be a list of records. Got dict."),
        ({"dataframe_records": [1]}, "must be a list of dictionaries"),
    ],
)
def test_a_wrong_body_is_refused_with_what_is_wrong(content: object, message: str) -> None:
    with pytest.raises(ScoringError) as refused:
        read_frame(content)
    assert message in refused.value.message
    assert (refused.value.status, refused.value.error_code) == (400, "BAD_REQUEST")


def test_a_body_for_a_language_model_is_the_input_itself_but_for_the_parameters_it_knows() -> None:
    body = parse_body({"messages": [1], "temperature": 0.5, "n": 2}, known_params=("temperature",))
    assert body == ScoringBody(format="llm", content={"messages": [1], "n": 2}, params={"temperature": 0.5})


@pytest.mark.parametrize("content", [{"x": [1, 2], "y": ["a", "b"]}, {"dataframe_split": {"data": []}}])
def test_r_sends_columns_or_a_body_with_a_key(content: dict[str, object]) -> None:
    assert parse_columns_body(content).format == ("columns" if "x" in content else "dataframe_split")
    with pytest.raises(ScoringError):
        parse_columns_body([content])


def test_a_scalar_of_r_is_a_column_of_one() -> None:
    assert read_table(parse_columns_body({"x": 1})).columns == {"x": [1]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        ('text/csv;charset="utf-8"', "text/csv"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("application/json; charset=latin-1", None),
        ("application/json; format=pandas-split", None),
        ("text/html", None),
        ("", None),
    ],
)
def test_content_types_are_those_of_mlflow(header: str, found: str | None) -> None:
    if found:
        assert parse_content_type(header) == found
        return
    with pytest.raises(ScoringError) as refused:
        parse_content_type(header)
    assert (refused.value.status, refused.value.is_text) == (415, True)


def test_csv_has_the_types_that_pandas_finds() -> None:
    table = read_csv(b'a,b,c,d,e,f\n1,0.5,x,True,,1_0\n2,NA,"y,z",false,nan,2\n')
    frame = make_frame(table)
    types = {each.name: each.dtype for each in frame.columns}
    assert types == {"a": "<i8", "b": "<f8", "c": "O", "d": "|b1", "e": "O", "f": "O"}
    assert frame.columns[2].values == ["x", "y,z"]


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"a,a\n1,2\n", b"\xff\n1\n", b'a\n"x\n'])
def test_csv_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(ScoringError):
        read_csv(content)


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        ([1, 2], "<i8", (2,)),
        ([[1.0], [2]], "<f8", (2, 1)),
        ([[[True]]], "|b1", (1, 1, 1)),
        (["a", "b"], "U", (2,)),
        ([None, 1], "O", (2,)),
        ([], "<f8", (0,)),
        ([[], []], "<f8", (2, 0)),
    ],
)
def test_lists_are_arrays(value: object, dtype: str, shape: tuple[int, ...]) -> None:
    found = make_array(value, "instances")
    assert (found.dtype, found.shape) == (dtype, shape)


@pytest.mark.parametrize("value", [[[1], [2, 3]], [[1], 2], [1, [2]], [[[1]], [2]]])
def test_ragged_lists_are_refused(value: object) -> None:
    with pytest.raises(ScoringError, match="`instances` has lists"):
        make_array(value, "instances")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
KEYED = st.dictionaries(
    st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params", "columns", "data"]),
    JSON | st.fixed_dictionaries({"data": JSON}, optional={"columns": JSON, "index": JSON}),
    max_size=2,
)


@given(KEYED | JSON)
def test_any_json_is_read_or_refused(content: object) -> None:
    try:
        body = parse_body(content)
        table = read_table(body)
        value: Input = make_frame(table) if table else make_array(body.content, body.format)
    except ScoringError:
        return
    if isinstance(value, Frame):
        assert all(len(unpack(each.values, each.dtype)) == value.rows for each in value.columns)
    elif isinstance(value, Array):
        assert len(unpack(value.values, value.dtype)) == math.prod(value.shape)


@given(
    st.lists(st.lists(st.lists(st.floats(), min_size=3, max_size=3), min_size=1, max_size=3), min_size=1, max_size=4)
)
def test_joined_arrays_hold_the_rows_of_each(requests: list[list[list[float]]]) -> None:
    arrays = [make_array(rows, "instances") for rows in requests]
    assert len({find_kind(each) for each in arrays}) == 1
    joined = join_inputs(arrays)
    flat = [value for rows in requests for row in rows for value in row]
    assert isinstance(joined, Array)
    assert (joined.shape, joined.values) == ((len(flat) // 3, 3), struct.pack(f"{len(flat)}d", *flat))


def test_only_rows_of_one_kind_are_joined() -> None:
    def kind_of(*rows: object) -> object:
        return find_kind(make_frame(read_table(parse_body({"dataframe_records": list(rows)}))))  # type: ignore[arg-type]

    assert kind_of({"a": 1, "b": "x"}) == kind_of({"a": 2, "b": "y"}) is not None
    others = [{"a": 1.0, "b": "x"}, {"a": 1, "b": None}, {"b": "x", "a": 1}, {"a": 1, "c": "x"}, {"a": 1}]
    assert len({kind_of(each) for each in [{"a": 1, "b": "x"}, *others]}) == 6
    assert kind_of({"a": [1]}) is None
    assert find_kind({"a": 1}) is None
