"""Signatures at predict: every kind of column and tensor, with real tables, next to what MLflow decides."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import REPOSITORY, TestEnvironment

from repro.inside.model_enforce import SchemaError, conform, conform_params

CASES = REPOSITORY / "fixtures/model_values"
FILE = REPOSITORY / "repro/inside/model_enforce.py"


def ask(environment: TestEnvironment, whom: str) -> dict[str, str]:
    command = [environment.python, str(CASES / "enforce.py"), str(FILE), whom]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, str] = json.loads(done.stdout)
    return said


def get_expected() -> dict[str, str]:
    expected: dict[str, str] = json.loads((CASES / "enforced.json").read_text())
    return expected


@pytest.mark.index
def test_inputs_are_made_what_the_signature_says_or_refused_by_name(science: TestEnvironment) -> None:
    assert ask(science, "ours") == get_expected()  # and no table that was given has changed: the script looks


# What we take and MLflow refuses: nothing is lost.
TAKEN_HERE_ALONE = {
    "double from integers", "double from Int64", "double of no texts", "float from integers", "long from whole floats",
    "long from small uint64", "integer from int64", "boolean from categories", "string from categories",
    "datetime with a zone", "datetime from text", "an array", "rows", "rows as tuples", "a tuple of rows", "a row",
    "a column for one", "sparse", "rounded from lists", "no names, sparse", "tensor from float32",
    "tensor from integers", "tensor from lists", "float32 tensor from lists", "uint8 tensor from lists",
    "text tensor from lists", "text tensor from objects",
}  # fmt: skip
# What we refuse and MLflow takes: it gives the model numbers that it has rounded, or what is not of the type said.
TAKEN_BY_MLFLOW_ALONE = {
    "double from exact objects", "double from mixed objects", "double from huge objects", "boolean with missing",
    "boolean from odd objects", "string from odd objects", "binary from text",
}  # fmt: skip


@pytest.mark.mlflow
def test_decisions_that_differ_from_mlflows_are_those_we_mean(mlflow: TestEnvironment) -> None:
    ours, theirs = get_expected(), ask(mlflow, "mlflow")
    assert ours.keys() == theirs.keys()
    refused = [{name for name, each in said.items() if each.startswith("refused")} for said in (ours, theirs)]
    assert refused[1] - refused[0] == TAKEN_HERE_ALONE
    assert refused[0] - refused[1] == TAKEN_BY_MLFLOW_ALONE


# without pandas: here

FIELDS = [
    {"name": "a", "type": "double", "required": True},
    {"name": "b", "type": "long", "required": True},
    {"name": "c", "type": "string", "required": False},
]


def test_without_pandas_columns_are_chosen_by_name() -> None:
    assert list(conform({"b": [1], "z": [2], "a": [3]}, {"inputs": FIELDS}).items()) == [("a", [3]), ("b", [1])]
    with pytest.raises(SchemaError) as caught:
        conform({"b": [1], "z": [2]}, {"inputs": FIELDS})
    assert str(caught.value) == "the input has no column `a`; it has `b`, `z`"


@pytest.mark.parametrize("signature", [None, {}, {"inputs": None}, {"inputs": []}])
def test_without_a_signature_the_input_is_what_it_was(signature: dict[str, object] | None) -> None:
    data = {"a": [1]}
    assert conform(data, signature) is data
    assert conform_params(None, signature) is None


PARAMS = {
    "params": [
        {"name": "count", "type": "long", "default": 3, "shape": None},
        {"name": "rate", "type": "double", "default": 0.5, "shape": None},
        {"name": "flag", "type": "boolean", "default": False, "shape": None},
        {"name": "name", "type": "string", "default": None, "shape": None},
        {"name": "steps", "type": "double", "default": [1.0], "shape": [-1]},
        {"name": "any", "type": "object", "default": None, "shape": None},
    ]
}
DEFAULTS = {"count": 3, "rate": 0.5, "flag": False, "name": None, "steps": [1.0], "any": None}


class Scalar:
    """A number of numpy's, as far as enforcement looks."""

    ndim = 0

    def tolist(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (None, {}),
        ({}, {}),
        ({"count": 5, "rate": 1}, {"count": 5, "rate": 1.0}),
        ({"count": Scalar()}, {"count": 7}),
        ({"steps": (1, 2.5)}, {"steps": [1.0, 2.5]}),
        ({"steps": []}, {"steps": []}),
        ({"name": "x", "flag": True, "rate": None}, {"name": "x", "flag": True, "rate": None}),
        ({"any": {"a": [1]}}, {"any": {"a": [1]}}),
    ],
)
def test_parameters_have_their_defaults(given: dict[str, object] | None, becomes: dict[str, object]) -> None:
    found = conform_params(given, PARAMS)
    assert found == {**DEFAULTS, **becomes}
    assert [type(each) for each in found.values()] == [type(each) for each in {**DEFAULTS, **becomes}.values()]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"count": 1.5}, "the parameter `count` is `long`, and not `1.5`"),
        ({"count": True}, "the parameter `count` is `long`, and not `True`"),
        ({"count": [1]}, "the parameter `count` is `long`, and not `[1]`"),
        ({"rate": "1"}, "the parameter `rate` is `double`, and not `'1'`"),
        ({"flag": 1}, "the parameter `flag` is `boolean`, and not `1`"),
        ({"name": 1}, "the parameter `name` is `string`, and not `1`"),
        ({"steps": 1.0}, "the parameter `steps` is `double` (a list), and not `1.0`"),
        ({"steps": [1.0, "x"]}, "the parameter `steps` is `double` (a list), and not `[1.0, 'x']`"),
        ([1], "the parameters are a dictionary, and not a `list`"),
    ],
)
def test_a_parameter_of_another_type_is_refused(given: object, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        conform_params(given, PARAMS)
    assert str(caught.value) == reason


def test_a_parameter_that_the_model_has_not_is_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="the model has no parameter `2`, `other`"):
        assert conform_params({"other": 1, 2: 3}, PARAMS) == DEFAULTS
