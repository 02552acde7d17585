"""Signatures from plain values, and from frames and arrays as MLflow infers them."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment

import repro
from repro.formats.signature import Column, Parameter, Schema, Tensor
from repro.models.infer import infer_schema

NOW = datetime.datetime(2024, 1, 2)
VALUES: dict[str, tuple[object, Schema]] = {
    "rows": (
        [{"a": 1, "b": "x"}, {"a": 2.5, "b": None}],
        (Column(type="double", name="a"), Column(type="string", name="b", required=False)),
    ),
    "rows that lack a column": ([{"a": True}, {}], (Column(type="boolean", name="a", required=False),)),
    "columns": ({"a": [1, 2], "b": [NOW, NOW]}, (Column(type="long", name="a"), Column(type="datetime", name="b"))),
    "one row": ({"a": 1, "b": b"x"}, (Column(type="long", name="a"), Column(type="binary", name="b"))),
    "nested": (
        {"a": [[1.0], [2.0, 3.0]], "b": {"c": 1}},
        (
            Column(type="array", name="a", nested={"items": {"type": "array", "items": {"type": "double"}}}),
            Column(type="object", name="b", nested={"properties": {"c": {"type": "long", "required": True}}}),
        ),
    ),
    "matrix": ([[1, 2], [3, 4]], (Tensor(dtype="int64", shape=(-1, 2)),)),
    "matrix of fractions": ([[1, 2.5]], (Tensor(dtype="float64", shape=(-1, 2)),)),
    "texts": (["a", "b"], (Column(type="string"),)),
    "text": ("a", (Column(type="string"),)),
    "missing": ({"a": [None]}, (Column(type="any", name="a", required=False),)),
    "nothing": ([], (Column(type="any"),)),
}


@pytest.mark.parametrize("name", VALUES)
def test_plain_values_have_a_schema(name: str) -> None:
    value, schema = VALUES[name]
    assert infer_schema(value) == schema


def test_parameters_have_defaults_and_shapes() -> None:
    signature = repro.infer_signature(["x"], 0.5, params={"rate": 0.5, "names": ["a"], "deep": True})
    assert signature.outputs == (Column(type="double"),)
    assert signature.params == (
        Parameter(name="rate", type="double", default=0.5),
        Parameter(name="names", type="string", default=["a"], shape=(-1,)),
        Parameter(name="deep", type="boolean", default=True),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, "the column `a` of the input has a value of the type `object`"),
        ([{"a": 1}, {"a": "x"}], "the column `a` of the input has values of several types: long, string"),
        (object(), "the input has a value of the type `object`, which no signature has a word for"),
    ],
)
def test_what_no_schema_has_a_word_for_is_named(value: object, message: str) -> None:
    with pytest.raises(repro.ModelError) as caught:
        repro.infer_signature(value)
    assert caught.value.message.startswith(message)


AGREE = """
import sys; sys.path.insert(0, sys.argv[1])
import datetime, json, logging, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd, scipy.sparse
from mlflow.types.utils import _infer_schema
from repro.formats.signature import format_schema
from repro.models.infer import infer_schema

frame = pd.DataFrame({
    "i8": np.arange(3, dtype="int8"), "i32": np.arange(3, dtype="int32"), "i64": np.arange(3), "f32": np.ones(3, "f4"),
    "u8": np.arange(3, dtype="uint8"), "u32": np.arange(3, dtype="uint32"), "f64": [1.0, None, 2.0],
    "b": [True, False, True], "s": ["a", "b", "c"], "o": pd.Series(["a", None, "c"], dtype=object),
    "when": pd.to_datetime(["2024-01-01"] * 3), "zone": pd.to_datetime(["2024-01-01"] * 3).tz_localize("UTC"),
    "cat": pd.Categorical(["x", "y", "x"]), "Int": pd.array([1, None, 2], dtype="Int64"),
    "boolean": pd.array([True, None, False], dtype="boolean"), "bytes": [b"a", b"b", b"c"],
    "list": [[1.0], [2.0, 3.0], []], "dict": [{"k": 1}, {"k": 2, "l": "x"}, {"k": 3}],
})
values = {name: frame[[name]] for name in frame} | {
    "all": frame, "series": frame["i64"], "array": np.ones((4, 2), "f4"), "ints": np.arange(3),
    "texts": np.array(["a", "bcd"]), "bytes": np.array([b"a"]), "bools": np.array([True]), "deep": np.ones((2, 3, 4)),
    "objects": np.array(["a", None], dtype=object), "times": np.array(["2024-01-01"], dtype="datetime64[ns]"),
    "arrays": {"x": np.ones((2, 1)), "y": np.arange(2)}, "csr": scipy.sparse.csr_matrix(np.eye(3)),
    "rows": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "list": ["a", "b"], "numbers": [1.5, 2.5], "text": "a",
}
for name, value in values.items():
    theirs, ours = json.loads(_infer_schema(value).to_json()), json.loads(format_schema(infer_schema(value)))
    for column in [*theirs, *ours]:
        if name in ("dict", "all"):
            column.pop("properties", None)      # MLflow's order of what is in an object is no promise
    if theirs != ours:
        print(name, theirs, ours)

numbered = infer_schema(pd.DataFrame(np.ones((2, 2))))
assert [column.name for column in numbered] == [None, None], numbered
for wrong in (pd.DataFrame({"c": [1j]}), np.array(1.0), np.zeros(1, dtype=[("a", "f8")])):
    try:
        print("taken:", infer_schema(wrong))
    except Exception as error:
        assert type(error).__name__ == "ModelError", error
"""


@pytest.mark.mlflow
@pytest.mark.index
@pytest.mark.xdist_group("mlflow")
def test_frames_and_arrays_have_the_schema_that_mlflow_infers(mlflow: TestEnvironment, tmp_path: Path) -> None:
    done = subprocess.run(
        [mlflow.python, "-c", AGREE, str(REPOSITORY)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
