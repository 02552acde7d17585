"""Models that MLflow 1.30, 2.9 and 3.17 have saved, in the environments they name: as MLflow predicts there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, TEST_HOME, Cli

import repro
from repro.errors import InterpreterNotFoundError, ModelError

pytestmark = [pytest.mark.index, pytest.mark.mlflow, pytest.mark.xdist_group("models")]

MODELS = REPOSITORY / "fixtures" / "models"
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3], [5.9, 3.0, 4.2, 1.5], [4.35, 2.2, 6.9, 0.1]]
COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
ASK_MLFLOW = """
import json, sys
import mlflow.pyfunc, pandas
rows, columns = json.loads(sys.argv[2])
found = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.DataFrame(rows, columns=columns))
print(json.dumps(found.to_numpy().tolist() if hasattr(found, "to_numpy") else found.tolist()))
"""


@pytest.fixture(scope="module")
def shared_cache() -> Path:
    """One cache for this file and later sessions: environments take a while."""
    path = TEST_HOME / "models-cache"
    path.mkdir(exist_ok=True)
    return path


def load(name: str, cache: Path, *methods: str) -> dict[str, Any]:
    """Return what a model answers in its environment to ROWS, and how it was made."""
    try:
        with repro.load_model(MODELS / name, restore=True, cache=cache) as model:
            data = dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True))
            answers = {method: getattr(model, method)(data) for method in ("predict", *methods)}
            return {"python": model.environment.python, "flavor": model.flavor, **answers}
    except InterpreterNotFoundError as error:
        pytest.skip(f"no Python that the model names is here: {error.message}")


def ask_mlflow(python: str, name: str) -> list[Any]:
    given = json.dumps([ROWS, COLUMNS])
    done = subprocess.run(
        [python, "-c", ASK_MLFLOW, str(MODELS / name), given],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return list(json.loads(done.stdout.splitlines()[-1]))


def to_lists(answer: Any) -> list[Any]:
    """Return an answer, which came without numpy and pandas, as the rows that MLflow's script prints."""
    return [list(row) for row in zip(*answer.values(), strict=True)] if isinstance(answer, dict) else list(answer)


def check_as_mlflow(name: str, flavor: str, cache: Path, *methods: str) -> dict[str, Any]:
    found = load(name, cache, *methods)
    assert found["flavor"] == flavor
    assert to_lists(found["predict"]) == ask_mlflow(found["python"], name)
    return found


def test_the_model_of_mlflow_1_30_predicts_where_a_new_scikit_learn_fails(shared_cache: Path) -> None:
    found = check_as_mlflow("sklearn_mlflow1.30", "sklearn", shared_cache)
    assert subprocess.check_output([found["python"], "-V"], text=True).startswith("Python 3.8.")


def test_predict_takes_the_example_that_lies_beside_a_model(shared_cache: Path) -> None:
    cli, model = Cli(shared_cache), MODELS / "sklearn_mlflow1.30"
    said = cli("predict", str(model), str(model / "input_example.json"), "--restore").stdout
    assert json.loads(said)["predictions"] == repro.predict(
        model, model / "input_example.json", restore=True, cache=shared_cache
    )


@pytest.mark.skipif(not os.environ.get("REPRO_TEST_ALL"), reason="takes a minute; scripts/test-all")
@pytest.mark.parametrize(
    ("name", "flavor"),
    [
        ("sklearn_mlflow2.9", "sklearn"),
        ("sklearn_skops_default", "sklearn"),
        ("xgboost", "xgboost"),
        ("pyfunc_class", "python_function"),
    ],
)
def test_other_models_predict_as_mlflow_does(name: str, flavor: str, shared_cache: Path) -> None:
    check_as_mlflow(name, flavor, shared_cache, *(["predict_proba"] if name == "xgboost" else []))


def test_a_model_without_its_data_says_so(shared_cache: Path) -> None:
    with pytest.raises(ModelError, match=r"names `model.pkl`, which is not there"):
        repro.load_model(MODELS / "ref-1x", restore=True, cache=shared_cache)


def test_a_model_that_names_no_environment_says_so(shared_cache: Path) -> None:
    with pytest.raises(ModelError, match="names no environment"):
        repro.load_model(MODELS / "ref-2018-py", restore=True, cache=shared_cache)
