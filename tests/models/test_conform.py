"""Requests made into what a signature asks."""

from __future__ import annotations

import json
import math

import pytest

from repro.formats.scoring import Array, Frame, ScoringBody, ScoringError, parse_body, read_csv, unpack
from repro.formats.signature import Signature, parse_signature
from repro.models.conform import conform_input, conform_params

WINE = [{"name": "a", "type": "double"}, {"name": "b", "type": "long"}]


def sign(columns: object, params: object = None) -> Signature:
    return parse_signature({"inputs": json.dumps(columns), "params": None if params is None else json.dumps(params)})


def conform(content: object, columns: object, *, wants_frame: bool = True) -> object:
    body = content if isinstance(content, ScoringBody) else parse_body(content)
    value = conform_input(body, sign(columns) if columns else None, wants_frame=wants_frame)
    if isinstance(value, Array):
        return value.dtype, value.shape, unpack(value.values, value.dtype) if value.dtype[-2:] != "1]" else None
    if isinstance(value, Frame):
        return {each.name: (each.dtype, each.values if each.dtype[1] == "M" else unpack(each.values, each.dtype))
                if each.dtype != "O" else each.values for each in value.columns}  # fmt: skip
    return value


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": ["b", "x", "a"], "data": [[3, 0, 1]]}},
        {"dataframe_records": [{"b": 3, "a": 1}]},
        {"instances": [{"a": 1.0, "b": 3.0}]},
        {"inputs": {"a": [1.0], "b": [3]}},
        {"inputs": {"a": 1, "b": 3}},
        ScoringBody(format="csv", content=read_csv(b"b,a\n3,1\n")),
    ],
)
def test_columns_are_taken_by_name_in_the_order_and_types_of_the_signature(content: object) -> None:
    assert conform(content, WINE) == {"a": ("<f8", [1.0]), "b": ("<i8", [3])}
    assert list(conform(content, WINE)) == ["a", "b"]  # type: ignore[call-overload]
    assert conform(content, WINE, wants_frame=False) == ("<f8", (1, 2), [1.0, 3.0])


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("double", [1, None], ("<f8", [1.0, math.nan])),
        ("float", [0.5], ("<f4", [0.5])),
        ("integer", [2.0], ("<i4", [2])),
        ("boolean", [True], ("|b1", [1])),
        ("string", ["x", None], ["x", None]),
        ("binary", ["aGk="], [b"hi"]),
        ("datetime", ["1970-01-01T00:00:01Z"], ("<M8[ns]", (10**9).to_bytes(8, "little"))),
        ("datetime", ["1970-01-01T01:00:00.5+01:00"], ("<M8[ns]", (5 * 10**8).to_bytes(8, "little"))),
    ],
)
def test_each_type_has_its_values(kind: str, given: list[object], found: object) -> None:
    columns = [{"name": "a", "type": kind}]
    assert repr(conform({"inputs": {"a": given}}, columns)) == repr({"a": found})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"inputs": {"b": [1], "z": [2]}}, "Model is missing inputs ['a']. Note that there were extra inputs: ['z']."),
        ({"inputs": [[1, 2]]}, "Model is missing inputs ['a', 'b']: rows of `inputs` have no names."),
        ({"inputs": {"a": ["x"], "b": [1]}}, "column `a` is `double`, and has `'x'` in row 0"),
        ({"inputs": {"a": [1, True], "b": [1, 1]}}, "column `a` is `double`, and has `True` in row 1"),
        ({"inputs": {"a": [1], "b": [1.5]}}, "column `b` is `long`, and has `1.5` in row 0"),
        ({"inputs": {"a": [1], "b": [None]}}, "column `b` is `long`, and has a missing value in row 0"),
        ({"inputs": {"a": [10**400], "b": [1]}}, "column `a` has a number too large for `double`"),
        ({"inputs": {"a": [1], "b": [10**30]}}, "column `b` has a number too large for `long`"),
        ({"inputs": {"a": [1, 2], "b": [1]}}, "The length of values for each input/column name are not the same"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": []}}, "the input has no rows"),
    ],
)
def test_what_does_not_fit_is_named(content: object, message: str) -> None:
    with pytest.raises(ScoringError) as refused:
        conform(content, WINE)
    assert refused.value.message == message
    assert refused.value.status == 400


def test_an_optional_column_may_be_left_out() -> None:
    columns = [*WINE, {"name": "c", "type": "string", "required": False}]
    assert list(conform({"inputs": {"a": [1], "b": [1]}}, columns)) == ["a", "b"]  # type: ignore[call-overload]


def test_without_a_signature_lists_are_arrays_and_tables_frames_where_the_model_wants_them() -> None:
    assert conform({"instances": [[1, 2]]}, None) == ("<i8", (1, 2), [1, 2])
    assert conform({"inputs": "text"}, None) == "text"
    split = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5]]}}
    assert conform(split, None) == {"a": ("<i8", [1]), "b": ("<f8", [2.5])}
    assert conform(split, None, wants_frame=False) == ("<f8", (1, 2), [1.0, 2.5])
    text = {"dataframe_split": {"columns": ["a"], "data": [["x"]]}}
    assert conform(text, None, wants_frame=False) == {"a": ["x"]}


LIST = {"type": "array", "items": {"type": "double"}}


@pytest.mark.parametrize(
    ("content", "columns", "found"),
    [  # as MLflow takes them: fixtures/models and tests/models/test_with_mlflow.py
        ({"inputs": [1, 2]}, [{"type": "long"}], {0: ("<i8", [1, 2])}),
        ({"instances": [[1, 2], [3, 4]]}, [{"type": "long"}], {0: ("<i8", [1, 3])}),
        ({"inputs": [[1, 2], [3, 4]]}, [{"type": "long"}, {"type": "double"}],
         {0: ("<i8", [1, 3]), 1: ("<f8", [2.0, 4.0])}),
        ({"inputs": "x"}, [{"type": "string"}], {0: ["x"]}),
        ({"inputs": ["x", "y"]}, [{"type": "string", "name": "a"}], {"a": ["x", "y"]}),
        ({"inputs": {"v": [1, 2]}}, [{**LIST, "name": "v"}], {"v": [[1.0, 2.0]]}),
        ({"inputs": [{"v": [1]}, {"v": []}]}, [{**LIST, "name": "v"}], {"v": [[1.0], []]}),
        ({"inputs": [{"a": 1}]}, None, [{"a": 1}]),
    ],
)  # fmt: skip
def test_lists_and_dictionaries_are_the_tables_that_mlflow_makes_of_them(
    content: object, columns: object, found: object
) -> None:
    assert conform(content, columns) == found


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ({"inputs": 5}, [{"type": "long"}, {"type": "double"}], "it takes 2 columns, not 1"),
        ({"inputs": [[1], [2, 3]]}, [{"type": "long"}], "`inputs` has rows of different lengths"),
        ({"inputs": [[1], 2]}, [{"type": "long"}], "`inputs` has rows of different lengths"),
        ({"inputs": ["x"]}, [{"type": "long"}], "column `0` is `long`, and has `'x'` in row 0"),
        ({"dataframe_records": [{"v": [1, "no"]}]}, [{**LIST, "name": "v"}], "`v[0][1]` is `double`, and not `'no'`"),
        ({"inputs": []}, [{"type": "long"}], "the input has no rows"),
    ],
)
def test_a_list_that_is_no_such_table_is_refused(content: object, columns: object, message: str) -> None:
    with pytest.raises(ScoringError) as refused:
        conform(content, columns)
    assert message in refused.value.message


def test_a_model_that_checks_its_input_by_a_type_hint_is_given_it_as_it_is() -> None:
    hinted = parse_signature({"inputs": json.dumps([{"type": "object", "properties": {}}])}, is_type_hint=True)
    body = parse_body({"inputs": [{"role": "a"}, {}]})
    assert conform_input(body, hinted, wants_frame=True) == [{"role": "a"}, {}]
    assert conform_input(parse_body({"inputs": []}), hinted, wants_frame=True) == []
    with pytest.raises(ScoringError, match="a model with a type hint takes `inputs`, and not `instances`"):
        conform_input(parse_body({"instances": [1]}), hinted, wants_frame=True)
    table = ScoringBody(format="csv", content=read_csv(b"b,a\n3,1\n"))
    assert isinstance(conform_input(table, hinted, wants_frame=True), Frame)


def test_tensors_have_the_type_and_shape_of_the_signature() -> None:
    tensor = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]
    assert conform({"inputs": [[1, 2]]}, tensor) == ("<f4", (1, 2), [1.0, 2.0])
    assert conform({"dataframe_split": {"data": [[1, 2]]}}, tensor) == ("<f4", (1, 2), [1.0, 2.0])
    with pytest.raises(ScoringError, match=r"Shape of input \(1, 3\) does not match expected shape \(-1, 2\)."):
        conform({"inputs": [[1, 2, 3]]}, tensor)
    whole = [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]
    assert conform_input(parse_body({"inputs": {"x": [1]}}), sign(whole), wants_frame=True) == {
        "x": Array(dtype="<i8", shape=(1,), values=(1).to_bytes(8, "little"))
    }
    with pytest.raises(ScoringError, match="the model takes `int64`"):
        conform({"inputs": {"x": [0.5]}}, whole)


def test_parameters_have_defaults_and_types_and_unknown_ones_are_left_out() -> None:
    known = sign(WINE, [{"name": "k", "type": "long", "default": 1, "shape": None},
                        {"name": "w", "type": "double", "default": [0.1], "shape": [-1]}]).params  # fmt: skip
    assert conform_params({"k": 2, "z": 1}, known) == {"k": 2, "w": [0.1]}
    assert conform_params({"k": 2}, None) is None
    for wrong in ({"k": "x"}, {"w": 0.5}, {"w": ["x"]}):
        with pytest.raises(ScoringError, match="the parameter `"):
            conform_params(wrong, known)


@pytest.mark.parametrize("type_", ["double", "float", "long", "integer", "boolean"])
@pytest.mark.parametrize("rows", [[[1, 2]], [[0.5, -1.0], [3, 4e300]], [[True, False]], [[None, 1.0]], [[1 << 70, 0]]])
def test_rows_packed_in_one_go_are_those_packed_column_by_column(type_: str, rows: list[list[object]]) -> None:
    columns = [{"name": name, "type": type_} for name in "ab"]
    split = {"columns": ["a", "b"], "data": rows}

    def read(content: object) -> object:
        try:
            value = conform_input(parse_body(content), sign(columns), wants_frame=True)
        except ScoringError as error:
            return error.message
        if isinstance(value, Array):
            assert value.names == ("a", "b")
            flat = unpack(value.values, value.dtype)
            return value.dtype, [repr(flat[at::2]) for at in range(2)]
        assert isinstance(value, Frame)
        return value.columns[0].dtype, [repr(unpack(each.values, each.dtype)) for each in value.columns]

    slowly = {"dataframe_split": {"columns": ["b", "a"], "data": [row[::-1] for row in rows]}}
    assert read({"dataframe_split": split}) == read(slowly)
