"""A model saved under old libraries, loaded where there are new ones: the same bits, or a warning that says why not."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest
from conftest import REPOSITORY, TEST_HOME, Cli, TestEnvironment, make_once

pytestmark = [pytest.mark.mlflow, pytest.mark.index, pytest.mark.xdist_group("models")]

MAKE_DATA = """
import sys
import numpy as np, pandas as pd
numbers = np.random.default_rng(7).standard_normal((500, 6))
frame = pd.DataFrame({name: numbers[:, at] for at, name in enumerate("abcdef")})
mixed = frame.assign(kind=pd.Categorical([1, 2] * 250), when=pd.Timestamp("2026-01-02", tz="Europe/Berlin"))
mixed.loc[3, "a"] = np.nan
"""
SAVE = """
sys.path.insert(0, sys.argv[1])
import sklearn, repro
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
assert sklearn.__version__ == "1.4.2"
target = numbers @ np.arange(6.0)
forest = RandomForestRegressor(20, random_state=0).fit(frame, target)
repro.save_model(forest, "forest", input_example=frame.head(2))
np.save("forest.npy", forest.predict(frame))
logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, (target > 0) + (target > 4).astype(int))
repro.save_model(logistic, "logistic", input_example=numbers[:2])
np.save("logistic.npy", logistic.predict_proba(numbers))

class Echo:
    def predict(self, data, params=None):
        return data

repro.save_model(Echo(), "echo")
"""
LOAD = """
sys.path += sys.argv[1:3]
import json, warnings
import sklearn, repro
from repro.errors import SnapshotNotRestoredWarning
assert sklearn.__version__ != "1.4.2" and np.__version__ >= "2"
cache = sys.argv[3]
found = {}
with repro.load_model("forest", restore=True, cache=cache) as forest:
    found["forest"] = forest.predict(frame).tobytes() == np.load("forest.npy").tobytes()
    found["by array"] = forest.predict(numbers).tobytes() == np.load("forest.npy").tobytes()
    found["type"] = type(forest.predict(frame)).__name__
    found["trees"] = forest.n_estimators
    try:
        forest.predict(frame[["a", "b"]])
    except repro.ModelError as error:
        found["refused"] = error.message
with repro.load_model("logistic", restore=True, cache=cache) as logistic:
    found["logistic"] = logistic.predict_proba(numbers).tobytes() == np.load("logistic.npy").tobytes()
with repro.load_model("echo", restore=True, cache=cache) as echo:
    pd.testing.assert_frame_equal(echo.predict(mixed), mixed, check_exact=True, check_column_type=False)
    big = np.random.default_rng(0).random((300_000, 4))
    for _ in range(3):
        assert echo.predict(big).tobytes() == big.tobytes()
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        repro.load_model("forest", cache=cache)
    except repro.ModelError as error:
        found["here"] = error.message
    found["warnings"] = [str(each.message) for each in said if issubclass(each.category, SnapshotNotRestoredWarning)]
print(json.dumps(found))
"""


def run(python: str, code: str, *args: str, cwd: Path) -> str:
    done = subprocess.run([python, "-c", MAKE_DATA + code, *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of scikit-learn 1.4, numpy 1 and pandas 2."""
    old = make_once("old-science", "scikit-learn==1.4.2", "numpy<2", "pandas<2.3", "cloudpickle", "pyyaml")
    path = tmp_path_factory.mktemp("saved")
    run(old.python, SAVE, str(REPOSITORY), cwd=path)
    return path


def test_predictions_are_those_of_save_time_to_the_last_bit(saved: Path, mlflow: TestEnvironment) -> None:
    cache = TEST_HOME / "models-cache"
    ours = sysconfig.get_paths()["purelib"]
    found = json.loads(run(mlflow.python, LOAD, str(REPOSITORY), ours, str(cache), cwd=saved).splitlines()[-1])
    warned = found.pop("warnings")
    here = found.pop("here", "")
    assert found == {
        "forest": True,
        "by array": True,
        "type": "ndarray",
        "trees": 20,
        "refused": "the input has no column `c`, `d`, `e`, `f`; it has `a`, `b`",
        "logistic": True,
    }
    assert len(warned) == 1
    assert "results may differ: numeric: " in warned[0]
    assert "scikit-learn (locked 1.4.2, installed 1." in warned[0]
    assert "numpy (locked 1.26.4, installed 2." in warned[0]
    assert warned[0].endswith("Restore it with `repro.load_model('forest', restore=True)`")
    assert not here or here.startswith("`forest` cannot be loaded in this environment: ")


def test_the_command_line_predicts_what_the_model_predicted(saved: Path) -> None:
    import csv

    rows = [{name: str(at + number / 7) for at, name in enumerate("abcdef")} for number in range(3)]
    with (saved / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list("fedcba"))
        writer.writeheader()
        writer.writerows(rows)
    cli = Cli(TEST_HOME / "models-cache")
    answers = json.loads(cli("predict", str(saved / "forest"), str(saved / "rows.csv"), "--restore").stdout)
    assert len(answers["predictions"]) == 3
