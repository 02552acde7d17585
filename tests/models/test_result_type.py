"""The types that a model's answers can be asked for as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import UsageError
from repro.models.result_type import (
    SCALARS,
    ArrayOf,
    ResultType,
    Scalar,
    Struct,
    describe_type,
    format_ddl,
    parse_result_type,
)

NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=5)


def make_struct(inner: st.SearchStrategy[ResultType]) -> st.SearchStrategy[ResultType]:
    fields = st.lists(st.tuples(NAMES, inner), min_size=1, max_size=3, unique_by=lambda field: field[0])
    return st.builds(lambda found: Struct(fields=tuple(found)), fields)


TYPES: st.SearchStrategy[ResultType] = st.recursive(
    st.builds(lambda name: Scalar(name=name), st.sampled_from(SCALARS)),
    lambda inner: st.builds(lambda item: ArrayOf(item=item), inner) | make_struct(inner),
    max_leaves=5,
)


@given(TYPES)
def test_what_is_written_for_spark_is_read_back(type_: ResultType) -> None:
    assert parse_result_type(format_ddl(type_)) == type_


@pytest.mark.parametrize(
    ("text", "ddl"),
    [
        ("double", "double"),
        ("INT", "int"),
        ("integer", "int"),
        ("long", "bigint"),
        (" array < long > ", "array<bigint>"),
        ("label string, score double", "struct<`label`:string,`score`:double>"),
        ("label: string", "struct<`label`:string>"),
        ("struct<`a b`:array<float>>", "struct<`a b`:array<float>>"),
        ("array struct<x:bool>", "struct<`array`:struct<`x`:boolean>>"),
    ],
)
def test_the_names_of_mlflow_and_of_spark_are_read(text: str, ddl: str) -> None:
    assert format_ddl(parse_result_type(text)) == ddl


class DataType:
    """One of Spark's, as far as it is looked at."""

    def __init__(self, value: object) -> None:
        self.jsonValue = lambda: value


def test_a_type_of_sparks_is_read_by_what_it_says_as_json() -> None:
    array = DataType({"type": "array", "elementType": "long", "containsNull": True})
    assert describe_type(parse_result_type(array)) == {"array": {"type": "long"}}
    field = {"name": "a b", "type": "integer", "nullable": True, "metadata": {}}
    assert describe_type(parse_result_type(DataType({"type": "struct", "fields": [field]}))) == {
        "struct": [["a b", {"type": "int"}]]
    }
    for value in ("timestamp", {"type": "map"}, {"type": "struct", "fields": []}):
        with pytest.raises(UsageError, match="is no type of a result"):
            parse_result_type(DataType(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a type is missing at the end"),
        ("decimal", "`decimal` is no type of a result"),
        ("array<int", "`>` is missing at the end"),
        ("array<int>>", "`>` is one word too many"),
        ("array<a int>", "`a` is no type of a result"),
        ("a int, a int", "the field `a` is there twice"),
        ("a int,", "a field has no name"),
        ("a int b int", "`b` is one word too many"),
        ("a `", "`` ` `` cannot be read".replace("`` ` ``", "```")),
        ("array<" * 60 + "int" + ">" * 60, "it is nested too deeply"),
    ],
)
def test_another_text_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_result_type(text)
    assert caught.value.message.endswith(f"is no result type: {said}")
