from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.errors import ModelError
from repro.formats.mlmodel import (
    Example,
    OwnPart,
    PythonFunction,
    format_mlmodel,
    parse_mlmodel,
    parse_python_function,
)
from repro.formats.signature import (
    SCALARS,
    Column,
    Parameter,
    Signature,
    Tensor,
    format_signature,
    parse_signature,
)

# As MLflow 1.30 wrote it, and as 3.17 does.
OLD = """\
flavors:
  python_function:
    env: conda.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.8.18
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.1.2
mlflow_version: 1.30.1
model_uuid: 10c9b95fed494573a2b14f444226fc55
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  type: dataframe
utc_time_created: '2026-11-23 20:49:14.323645'
"""
NEW = """\
flavors:
  python_function:
    data: model.ubj
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.xgboost
    python_version: 3.11.7
is_signature_from_type_hint: false
mlflow_version: 3.17.2
model_id: null
model_size_bytes: 29679
prompts: null
signature:
  inputs: '[{"type": "double", "name": "sepal length (cm)", "required": true}, {"type":
    "string", "name": "kind", "optional": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: '[{"name": "t", "default": 0.5, "shape": null, "type": "double"}]'
type_hint_from_example: false
"""


def test_an_old_model_names_one_environment_file() -> None:
    model = parse_mlmodel(OLD)
    assert (model.mlflow_version, model.signature) == ("1.30.1", None)
    assert model.example == Example(artifact_path="input_example.json", type="dataframe", pandas_orient="split")
    assert parse_python_function(model) == PythonFunction(
        loader_module="mlflow.sklearn",
        data="model.pkl",
        env={"conda": "conda.yaml"},
        python_version="3.8.18",
        predict_fn="predict",
    )


def test_a_new_model_has_a_signature_and_keys_that_nobody_here_knows() -> None:
    model = parse_mlmodel(NEW)
    assert model.signature == Signature(
        inputs=(
            Column(type="double", name="sepal length (cm)"),
            Column(type="string", name="kind", required=False),
        ),
        outputs=(Tensor(dtype="int64", shape=(-1,)),),
        params=(Parameter(name="t", type="double", default=0.5),),
    )
    assert model.others == {"is_signature_from_type_hint": False, "prompts": None, "type_hint_from_example": False}
    assert (model.model_id, model.model_size_bytes) == (None, 29679)
    function = parse_python_function(model)
    assert function
    assert function.env == {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}


@pytest.mark.parametrize("text", [OLD, NEW])
def test_what_mlflow_wrote_is_written_as_it_was_read(text: str) -> None:
    model = parse_mlmodel(text)
    assert parse_mlmodel(format_mlmodel(model)) == model


@pytest.mark.parametrize("lock", [{"lock": "requirements-lock.txt", "digest": "sha256:ab"}, {}])
def test_what_repro_notes_stands_beside_what_mlflow_knows(lock: dict[str, str]) -> None:
    own = OwnPart(**lock, files={"model.skops": "sha256:cd"})
    model = replace(parse_mlmodel(NEW), own=own, metadata={"task": "wine"}, run_id="1" * 32)
    assert parse_mlmodel(format_mlmodel(model)) == model


def test_a_model_without_python_function_has_none() -> None:
    assert parse_python_function(parse_mlmodel("flavors:\n  crate:\n    version: 0.1.0\n")) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("flavors: [", "MLmodel"),
        ("run_id: x\n", "MLmodel: it names no `flavors`"),
        ("flavors: yes\n", "MLmodel: `flavors` is not a mapping"),
        ("flavors: {a: 1}\n", "MLmodel: flavors: `a` is not a mapping"),
        ("flavors: {a: {}}\nsignature: {inputs: '['}\n", "`MLmodel: signature.inputs` is not JSON"),
        ("flavors: {a: {}}\nsignature: {inputs: '" + "[" * 50_000 + "'}\n", "`MLmodel: "),
        ("flavors: {a: {}}\nsignature: {inputs: '{}'}\n", "is not a list of columns or tensors"),
        ('flavors: {a: {}}\nsignature: {inputs: \'[{"type": "int"}]\'}\n', "has a column of the type `int`"),
        ('flavors: {a: {}}\nsignature: {inputs: \'[{"type": "tensor"}]\'}\n', "has a tensor without a dtype"),
        ("flavors: {a: {}}\nrepro: {lock: 1}\n", "`repro` does not name a lock and its digest"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_mlmodel(text)
    assert fault in caught.value.message


def test_a_python_function_without_a_loader_is_refused() -> None:
    with pytest.raises(ModelError, match="names no `loader_module`"):
        parse_python_function(parse_mlmodel("flavors: {python_function: {data: x}}\n"))


def test_columns_and_tensors_are_not_mixed() -> None:
    mixed = [{"type": "double"}, {"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]
    with pytest.raises(ModelError, match="both columns and tensors"):
        parse_signature({"inputs": mixed})


_NAMES = st.none() | st.text(max_size=8)
_COLUMNS = st.builds(Column, type=st.sampled_from(SCALARS), name=_NAMES, required=st.booleans())
_SHAPES = st.lists(st.integers(-1, 9), max_size=3).map(tuple)
_TENSORS = st.builds(Tensor, dtype=st.sampled_from(["float64", "int32", "str"]), shape=_SHAPES, name=_NAMES)
_SCHEMAS = st.none() | st.lists(_COLUMNS, max_size=4).map(tuple) | st.lists(_TENSORS, min_size=1, max_size=3).map(tuple)
_PARAMETERS = st.builds(
    Parameter,
    name=st.text(min_size=1, max_size=8),
    type=st.sampled_from(SCALARS),
    default=st.none() | st.integers() | st.text(max_size=5),
    shape=st.none() | st.just((-1,)),
)
_PARAMS = st.none() | st.lists(_PARAMETERS, min_size=1, max_size=3).map(tuple)


@given(st.builds(Signature, inputs=_SCHEMAS, outputs=_SCHEMAS, params=_PARAMS))
def test_any_signature_is_read_as_it_was_written(signature: Signature) -> None:
    assert parse_signature(format_signature(signature)) == signature
