"""What we save, real MLflow loads, asks and serves, in a process that has no repro."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment, make_once

from repro.formats.lockfile import parse_snapshot
from repro.formats.mlmodel import parse_mlmodel

pytestmark = [pytest.mark.mlflow, pytest.mark.index, pytest.mark.xdist_group("boosters")]
ALL = bool(os.environ.get("REPRO_TEST_ALL"))
PYENV = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions")

COMMON = """
import sys; sys.path.insert(0, sys.argv[1])
import pickle, warnings
import numpy as np, pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
import repro

warnings.simplefilter("error", UserWarning)
numbers = np.random.default_rng(0).random((60, 3))
frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
classes = (frame["a"] > 0.5).astype(int)
line = LinearRegression().fit(frame, frame["b"] * 2)
forest = RandomForestClassifier(10, random_state=0).fit(frame, classes)
pipeline = make_pipeline(FunctionTransformer(lambda x: x * 2), LinearRegression()).fit(frame, frame["c"])
wanted = {}

def save(name, model, predictions, example=None, **options):
    options.setdefault("input_example", frame.head(3) if example is None else example)
    repro.save_model(model, name, **options)
    wanted[name] = np.asarray(predictions)

class Times:
    def predict(self, data, params=None):
        return data["a"] * (params or {}).get("by", 2)

save("line", line, line.predict(frame))
save("forest", forest, forest.predict(frame))
save("pipeline", pipeline, pipeline.predict(frame))
save("scaler", StandardScaler().fit(frame), StandardScaler().fit_transform(frame))
crate = repro.crate(lambda data: model.predict_proba(data)[:, 1], model=forest)
save("crate", crate, forest.predict_proba(frame)[:, 1])
save("object", Times(), frame["a"] * 2, (frame.head(3), {"by": 2}))
save("array", LinearRegression().fit(numbers, numbers[:, 0]), [], numbers[:2])
wanted["array"] = LinearRegression().fit(numbers, numbers[:, 0]).predict(numbers)
save("numbered", LinearRegression().fit(numbers, numbers[:, 0]), wanted["array"], pd.DataFrame(numbers[:2]))
words = ["red wine", "white wine"] * 10
text = make_pipeline(TfidfVectorizer(), LinearRegression()).fit(words, range(20))
save("words", text, text.predict(words), words[:2])
save("series", text, text.predict(words), pd.Series(words[:2], name="word"))
save("bare", line, line.predict(frame), input_example=None, snapshot=False)
"""
BOOSTERS = """
import lightgbm, xgboost
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

tree = xgboost.XGBClassifier(n_estimators=3).fit(frame, classes)
save("xgboost", tree, tree.predict(frame))
matrix = xgboost.DMatrix(frame, classes)
booster = xgboost.train({"objective": "binary:logistic"}, matrix, 3)
save("booster", booster, booster.predict(matrix))
light = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1).fit(frame, classes)
save("lightgbm", light, light.predict(frame))
save("text", light.booster_, light.booster_.predict(frame))
single = numbers.astype("float32")
logistic = LogisticRegression().fit(single, classes)
graph = to_onnx(logistic, single, options={"zipmap": False}, target_opset=18)
save("onnx", graph, logistic.predict(single))
import mlflow
save("signed", line, line.predict(frame), signature=mlflow.models.infer_signature(frame, line.predict(frame)))
"""
SAVE_END = """
repro.set_experiment("models")
with repro.start_run() as run:
    first = repro.log_model(line, "deep/line", input_example=frame.head(2), metadata={"a": 1})
    second = repro.log_model(line, "other")
assert (first.run_id, first.uri, second.model_uri) == (run.run_id, f"runs:/{run.run_id}/deep/line", second.uri)
print(run.run_id, first.model_uuid)
for info in (first, second):
    wanted[info.uri] = line.predict(frame)
with open("wanted.pkl", "wb") as file:
    pickle.dump((frame, numbers, wanted), file)
"""

LOAD = """
import importlib, io, logging, pickle, sys
import numpy as np, pandas as pd
import mlflow

said = io.StringIO()
logging.getLogger("mlflow").addHandler(logging.StreamHandler(said))
with open("wanted.pkl", "rb") as file:
    frame, numbers, wanted = pickle.load(file)
for name, expected in wanted.items():
    model = mlflow.pyfunc.load_model(name)
    words = ["red wine", "white wine"] * 10
    data = {"array": numbers, "numbered": pd.DataFrame(numbers), "words": words,
            "series": pd.DataFrame({"word": words})}.get(name, frame)
    answer = model.predict(data)
    answer = answer["label"] if name == "onnx" else answer
    # MLflow lays a frame out anew, and a sum of other order may differ in its last bit.
    assert np.allclose(np.asarray(answer), expected, rtol=1e-12, atol=0), (name, answer, expected)
    if name != "bare" and not name.startswith("runs:"):
        assert model.metadata.signature.inputs and model.metadata.signature.outputs, name
        example = model.metadata.load_input_example(name)
        assert np.array_equal(np.asarray(example), np.asarray(data)[: len(example)]), (name, example)
natives = {"sklearn": ["line", "forest", "pipeline", "scaler"], "xgboost": ["xgboost", "booster"],
           "lightgbm": ["lightgbm", "text"], "onnx": ["onnx"]}
for library, names in natives.items():
    for name in set(names) & set(wanted):
        print(library, name, type(importlib.import_module(f"mlflow.{library}").load_model(name)).__name__)
times = mlflow.pyfunc.load_model("object")
assert np.array_equal(times.predict(frame, params={"by": 5}), frame["a"] * 5)
try:
    mlflow.pyfunc.load_model("forest").predict(frame[["a", "c"]])
except mlflow.exceptions.MlflowException as error:
    print("missing inputs" in str(error) and "['b']" in str(error))
assert "repro" not in sys.modules, sys.modules["repro"]
assert not said.getvalue(), said.getvalue()
"""


def run(environment: TestEnvironment, script: str, *args: str, cwd: Path) -> str:
    done = subprocess.run(
        [environment.python, "-c", script, *args],
        cwd=cwd,
        env={
            **os.environ,
            "HOME": str(cwd),
            "MLFLOW_SNAPSHOT_CACHE": str(cwd / "cache"),
            "MLFLOW_TRACKING_URI": str(cwd / "mlruns"),
            "MLFLOW_ALLOW_FILE_STORE": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def boosters(request: pytest.FixtureRequest) -> TestEnvironment:
    """The newest MLflow; with scripts/test-all it has the libraries of each flavor but PyTorch."""
    if not ALL:
        plain: TestEnvironment = request.getfixturevalue("mlflow")
        return plain
    return make_once(
        "boosters", "mlflow==3.17.2", "scikit-learn", "pandas", "xgboost-cpu", "lightgbm", "onnx", "onnxruntime",
        "skl2onnx",
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(boosters: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model of each flavor that is there, saved by one script."""
    directory = tmp_path_factory.mktemp("saved")
    said = run(boosters, COMMON + (BOOSTERS if ALL else "") + SAVE_END, str(REPOSITORY), cwd=directory)
    (directory / "logged").write_text(said.splitlines()[-1])
    return directory


def read_flavor(saved: Path, name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((saved / name / "flavor.json").read_text())
    return content


def test_mlflow_loads_and_asks_every_model_without_a_word(boosters: TestEnvironment, saved: Path) -> None:
    others = [
        "lightgbm lightgbm LGBMClassifier",
        "lightgbm text Booster",
        "onnx onnx ModelProto",
        "xgboost booster Booster",
        "xgboost xgboost XGBClassifier",
    ]
    assert sorted(run(boosters, LOAD, cwd=saved).splitlines()) == [
        "True",
        *(others[:3] if ALL else []),
        "sklearn forest RandomForestClassifier",
        "sklearn line LinearRegression",
        "sklearn pipeline Pipeline",
        "sklearn scaler StandardScaler",
        *(others[3:] if ALL else []),
    ]


THEIRS = """
import sys; sys.path.insert(0, sys.argv[1])
import lightgbm, mlflow, numpy as np
from repro.inside import model_loader, saved_model

numbers = np.random.default_rng(0).random((60, 3))
booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(numbers, numbers[:, 0]), 3)
estimator = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(numbers, numbers[:, 0])
for name, model in (("booster", booster), ("estimator", estimator)):
    mlflow.lightgbm.save_model(model, name)
    flavors = mlflow.models.Model.load(name).flavors
    loaded = model_loader.load(name, {"flavors": flavors}, saved_model)
    assert np.array_equal(loaded.predict(numbers), model.predict(numbers))
    print(name, loaded.flavor, flavors["lightgbm"].get("serialization_format"))
"""


@pytest.mark.skipif(not ALL, reason="needs lightgbm; scripts/test-all")
def test_boosters_that_mlflow_saved_are_read_without_it(boosters: TestEnvironment, tmp_path: Path) -> None:
    said = run(boosters, THEIRS, str(REPOSITORY), cwd=tmp_path).splitlines()
    # MLflow names a format for a booster too, whose file is its own text.
    assert said == ["booster lightgbm skops", "estimator lightgbm skops"]


def test_the_safest_format_that_holds_the_model_is_chosen_and_named(saved: Path) -> None:
    forest = read_flavor(saved, "forest")
    assert (forest["serialization_format"], forest["skops_trusted_types"]) == ("skops", ["sklearn.tree._tree.Tree"])
    assert read_flavor(saved, "pipeline")["serialization_format"] == "cloudpickle"
    assert read_flavor(saved, "object")["serialization_format"] == "cloudpickle"
    if not ALL:
        return
    assert read_flavor(saved, "lightgbm")["serialization_format"] == "skops"
    assert read_flavor(saved, "xgboost")["model_format"] == "ubj"
    assert (saved / "text" / "model.lgb").read_text().startswith("tree\n")


def test_the_lock_holds_the_environment_and_the_requirements_what_was_used(saved: Path) -> None:
    model = parse_mlmodel((saved / "forest" / "MLmodel").read_text())
    lock = parse_snapshot((saved / "forest" / "requirements-lock.txt").read_text(), where="lock")
    assert model.own is not None
    assert model.own.digest == lock.compute_digest()
    pins = {f"{each.name}=={each.version}" for each in lock.distributions}
    ring = (saved / "forest" / "requirements.txt").read_text().splitlines()
    assert {line for line in ring if line[0] not in "-#"} < pins
    names = {line.partition("==")[0] for line in ring}
    assert {"scikit-learn", "scipy", "numpy", "skops", "threadpoolctl"} <= names
    assert not {"mlflow", "flask", "repro"} & names
    if ALL:
        assert "xgboost-cpu" in (saved / "xgboost" / "requirements.txt").read_text()
    assert parse_mlmodel((saved / "bare" / "MLmodel").read_text()).own is not None
    assert not (saved / "bare" / "requirements-lock.txt").exists()


def ask(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def wait_for(process: subprocess.Popen[str], url: str) -> None:
    for _ in range(1200):
        assert process.poll() is None, process.communicate()
        try:
            ask(url)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server never answers")


@pytest.mark.skipif(not ALL, reason="starts a server of MLflow; scripts/test-all")
def test_mlflow_serves_what_we_saved(boosters: TestEnvironment, saved: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            boosters.python, "-m", "mlflow", "models", "serve", "-m", "crate", "-p", str(port), "-w", "1",
            "--env-manager", "local",
        ],
        cwd=saved,
        env={**os.environ, "PATH": f"{boosters.path / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(saved)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(process, f"http://127.0.0.1:{port}/ping")
        body = (saved / "crate" / "serving_input_example.json").read_bytes()
        answer = json.loads(ask(f"http://127.0.0.1:{port}/invocations", body))
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close() if process.stdout else None
    assert len(answer["predictions"]) == 3
    assert all(0 <= each <= 1 for each in answer["predictions"])


def test_a_logged_model_lies_with_its_run_and_has_its_lock(saved: Path) -> None:
    run_id, model_uuid = (saved / "logged").read_text().split()
    (run_dir,) = saved.glob(f"mlruns/*/{run_id}")
    model = run_dir / "artifacts" / "deep" / "line"
    described = parse_mlmodel((model / "MLmodel").read_text())
    assert (described.run_id, described.artifact_path, described.model_uuid) == (run_id, "deep/line", model_uuid)
    assert described.metadata == {"a": 1}
    locks = [(directory / "requirements-lock.txt").read_text() for directory in (run_dir / "artifacts", model)]
    of_run, of_model = (parse_snapshot(lock, where="lock") for lock in locks)
    assert of_run.compute_digest() == of_model.compute_digest()
    assert any(each.used for each in of_run.distributions)
    assert not any(each.used for each in of_model.distributions)
    history = json.loads((run_dir / "tags" / "mlflow.log-model.history").read_text())
    assert [(each["artifact_path"], sorted(each["flavors"])) for each in history] == [
        ("deep/line", ["python_function", "sklearn"]),
        ("other", ["python_function", "sklearn"]),
    ]


@pytest.mark.mlflow_old
@pytest.mark.skipif(not ALL, reason="REPRO_TEST_ALL is not set: older MLflow is large")
def test_mlflow_2_loads_and_asks_what_was_saved_beside_it(tmp_path: Path) -> None:
    pythons = sorted(PYENV.glob("3.11.*/bin/python"))
    if not pythons:
        pytest.skip("there is no Python 3.11 here")
    requirements = ("mlflow==2.19.0", "scikit-learn<1.6", "pandas<2.3", "setuptools<70")
    old = make_once("mlflow-2.19", *requirements, python=str(pythons[-1]))
    run(old, COMMON + SAVE_END, str(REPOSITORY), cwd=tmp_path)
    assert read_flavor(tmp_path, "forest")["serialization_format"] == "cloudpickle"  # it has no skops
    assert run(old, LOAD, cwd=tmp_path).splitlines()[-1] == "True"
