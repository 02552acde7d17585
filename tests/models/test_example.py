"""Input examples as files: MLflow reads them back as they were, and its own are the same."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ModelError
from repro.formats.signature import format_schema, parse_schema
from repro.models.example import encode_example
from repro.models.infer import infer_schema

CASES: dict[str, tuple[object, str, object, object]] = {
    "rows": (
        [{"a": 1, "b": "x"}, {"a": 2}],
        "dataframe",
        {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}},
    ),
    "columns": (
        {"a": [1, float("nan")], "b": [datetime.date(2024, 1, 2), b"x"]},
        "dataframe",
        {"columns": ["a", "b"], "data": [[1, "2024-01-02"], [None, "eA=="]]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "2024-01-02"], [None, "eA=="]]}},
    ),
    "matrix": ([[1, 2.5]], "ndarray", [[1, 2.5]], {"inputs": [[1, 2.5]]}),
    "texts": (["a"], "json_object", ["a"], {"inputs": ["a"]}),
    "nested": ({"a": {"b": [1, 2]}}, "json_object", {"a": {"b": [1, 2]}}, {"inputs": {"a": {"b": [1, 2]}}}),
    "with parameters": (
        (["a"], {"k": 2}),
        "json_object",
        {"inputs": ["a"], "params": {"k": 2}},
        {"inputs": ["a"], "params": {"k": 2}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_plain_value_is_an_example(name: str) -> None:
    value, kind, content, request = CASES[name]
    encoded = encode_example(value)
    assert encoded.entry.type == kind
    assert encoded.entry.others == ({"params": "true"} if name == "with parameters" else {})
    assert (json.loads(encoded.text), json.loads(encoded.serving_text)) == (content, request)


def test_what_json_has_no_word_for_is_named() -> None:
    with pytest.raises(ModelError, match="the input example has a value of the type `complex`"):
        encode_example([{"a": 1j}])


AGREE = """
import sys; sys.path.insert(0, sys.argv[1])
import json, logging, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import numpy as np, pandas as pd, scipy.sparse
from mlflow.models.utils import _Example
from repro.models.example import encode_example

frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.5, 2.5], "d": [True, False], "e": [[1], [2, 3]],
                      "t": pd.to_datetime(["2024-01-01", "2024-01-02 03:04:05.678"], format="ISO8601"),
                      "i": pd.array([1, None], dtype="Int64")})
values = {
    "frame": frame, "plain": pd.DataFrame(np.ones((2, 2))), "array": np.array([[1.0, np.nan]]), "ints": np.arange(3),
    "texts": np.array(["a"]), "arrays": {"x": np.ones((2, 1), "f4"), "y": np.arange(2)}, "list": ["a", "b"],
    "csr": scipy.sparse.csr_matrix(np.eye(2)), "csc": scipy.sparse.csc_matrix(np.eye(2)), "text": "a",
    "params": (frame[["a"]], {"k": 2, "l": [1, 2]}),
}
for name, value in values.items():
    theirs, ours = _Example(value), encode_example(value)
    info = {"artifact_path": ours.entry.artifact_path, "serving_input_path": ours.entry.serving_input_path,
            "type": ours.entry.type, **ours.entry.others}
    if ours.entry.pandas_orient:
        info["pandas_orient"] = ours.entry.pandas_orient
    for one, other in ((theirs.info, info), (json.loads(theirs.json_input_example), json.loads(ours.text)),
                       (json.loads(theirs.json_serving_input), json.loads(ours.serving_text))):
        if one != other:
            print(name, one, other)
"""


@pytest.mark.mlflow
@pytest.mark.index
@pytest.mark.xdist_group("mlflow")
def test_frames_and_arrays_are_written_as_mlflow_writes_them(mlflow: TestEnvironment, tmp_path: Path) -> None:
    done = subprocess.run(
        [mlflow.python, "-c", AGREE, str(REPOSITORY)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.floats(allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_whatever_json_can_hold_is_an_example_and_has_a_signature_or_a_reason(value: object) -> None:
    encoded = encode_example(value)
    assert isinstance(json.loads(encoded.serving_text), dict)
    if encoded.entry.type == "dataframe":
        table = json.loads(encoded.text)
        assert all(len(row) == len(table.get("columns", row)) for row in table["data"])
    try:
        schema = infer_schema(value)
    except ModelError:
        return
    assert parse_schema(format_schema(schema), where="here") == schema
