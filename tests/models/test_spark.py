"""Models on Spark: real sessions, whose Python is not the model's. They take minutes, and need Java."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, LocalIndex, TestEnvironment, make_once
from tiny_models import make_model

pytestmark = [
    pytest.mark.spark,
    pytest.mark.index,
    pytest.mark.skipif(
        not os.environ.get("REPRO_TEST_ALL"), reason="REPRO_TEST_ALL is not set: Spark is large, and takes minutes"
    ),
    pytest.mark.skipif(
        shutil.which("java") is None, reason="java is not on PATH (Debian: apt-get install default-jre-headless)"
    ),
]
JOBS = Path(__file__).parent / "spark_jobs.py"
ANSWERS = """
import os, sys
import alpha
class Answers:
    def predict(self, data, params=None):
        count, answer = len(next(iter(data.values()))), (params or {}).get("answer")
        texts = data.get("t") or [None] * count
        assert isinstance(data, dict) and "pandas" not in sys.modules
        if answer == "fail": raise ValueError("what it raises")
        if answer == "die": os._exit(9)
        if answer == "once" and not os.path.exists(params["marker"]):
            open(params["marker"], "x").close()
            os._exit(9)
        if answer == "pid": return [str(os.getpid())] * count
        if answer == "where": return [sys.prefix + " " + alpha.VERSION] * count
        if answer == "names": return [" ".join(data)] * count
        if answer in ("half", "once"): return [x / 2 for x in data["x"]]
        return [
            {"half": x / 2, "whole": n, "text": t, "list": [n, n + 1]} for x, n, t in zip(data["x"], data["n"], texts)
        ]
def _load_pyfunc(path):
    return Answers()
"""
INPUTS = [
    {"type": "double", "name": "x"},
    {"type": "long", "name": "n"},
    {"type": "string", "name": "t", "required": False},
]


@pytest.fixture(scope="module")
def spark() -> TestEnvironment:
    """Spark, with this checkout."""
    return make_once("spark", "-e", f"{REPOSITORY}[spark,uv]")


def run_job(environment: TestEnvironment, job: str, request: dict[str, str], **variables: str) -> dict[str, object]:
    """Return what a job has found; its executors' Python is the environment's, where `variables` name no other."""
    Path("request.json").write_text(json.dumps(request))
    environ = {**os.environ, "PYSPARK_PYTHON": environment.python, **variables}
    done = subprocess.run(
        [environment.python, str(JOBS), job, "request.json"],
        env=environ, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def answers(tmp_path: Path, index: LocalIndex) -> Path:
    """A model whose environment has neither numpy nor pandas."""
    model = make_model(tmp_path / "answers", ANSWERS, signature={"inputs": INPUTS})
    python = ".".join(map(str, sys.version_info[:2]))
    (model / "python_env.yaml").write_text(f'python: "{python}"\ndependencies: [-r requirements.txt]\n')
    (model / "requirements.txt").write_text("alpha==1.0\n")
    return model


def test_rows_are_answered_in_the_models_environment_in_every_type(
    spark: TestEnvironment, answers: Path, cache: Path
) -> None:
    nameless = shutil.copytree(answers, answers.with_name("nameless"))
    (nameless / "MLmodel").write_text((answers / "MLmodel").read_text().replace('"signature"', '"metadata"'))
    request = {
        "model": str(answers),
        "nameless": str(nameless),
        "rows": "rows",
        "marker": str(answers.with_name("died")),
    }
    found = run_job(spark, "all", request, MLFLOW_SNAPSHOT_CACHE=str(cache))
    numbers = range(20)
    halves = [number / 2 for number in numbers]
    assert found["double"] == found["sql"] == found["revived"] == halves
    assert found["long"] == list(numbers)
    assert found["string"] == [str(half) for half in halves]
    assert found["boolean"] == [half != 0 for half in halves]
    assert found["array"] == [[number / 2, number] for number in numbers]
    assert found["struct"] == [{"half": number / 2, "text": f"t{number}"} for number in numbers]
    assert found["nested"] == [{"text": f"t{number}", "list": [number, number + 1]} for number in numbers]
    assert set(found["names"]) == {"0 1"}  # type: ignore[call-overload]
    assert "give it the columns in this order" in str(found["many"])
    assert isinstance(found["pids"], int)
    assert found["pids"] <= 2
    assert found["left"] == []
    where = found["where"]
    assert isinstance(where, list)
    assert where[0].startswith(f"{cache}/repro/")
    assert where[0].endswith(" 1.0")
    for name, sentences in {
        "raises": (
            "answers` has failed on a batch of ",
            " rows: ValueError: what it raises",
            "answers.py",
            "in predict",
        ),
        "dies": ("answers` has ended (exit code 9",),
        "misses": ("answers`: the input has no column `x`; it has `n`",),
        "other": ("no column of the model's answer can be `int`: it has `",),
    }.items():
        for sentence in sentences:
            assert sentence in str(found[name])
    command = [str(Path(spark.python).with_name("repro")), "score", str(answers), "rows", "scored", "--engine", "spark"]
    command += ["--master", "local[2]", "--restore", "--cache", str(cache), "--result-type", "string", "--json"]
    done = subprocess.run([*command, "-P", "answer=where"], check=True, capture_output=True, text=True)
    said = json.loads(done.stdout)
    assert (said["rows"], said["environment"]["reused"], said["engine"]) == (20, True, "spark")
    assert (Path("scored") / "_SUCCESS").exists()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-2:-1]) == (2, ["error: `scored` is there already"])
    command[4] = "failed"
    done = subprocess.run([*command, "-P", "answer=fail"], check=False, capture_output=True, text=True)
    assert done.returncode == 5
    assert "rows: ValueError: what it raises" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr.splitlines()[-1]
    assert not [each for each in Path().iterdir() if each.name not in ("rows", "scored", "request.json")]


def test_executors_without_repro_take_an_environment_that_spark_unpacks(
    spark: TestEnvironment, mlflow: TestEnvironment, answers: Path, cache: Path, tmp_path: Path
) -> None:
    repro = str(Path(spark.python).with_name("repro"))
    lock = answers / "requirements-lock.txt"
    into, kept = tmp_path / "packed", ["--cache", str(cache)]
    subprocess.run([repro, "lock", str(answers / "requirements.txt"), "-o", str(lock), *kept], check=True)
    subprocess.run([repro, "restore", str(lock), "--into", str(into), *kept], check=True)
    archive = tmp_path / "packed.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(into, arcname=".")
    request = {"model": str(answers), "archive": str(archive)}
    found = run_job(spark, "packed", request, PYSPARK_PYTHON=mlflow.python)
    where = found["where"]
    assert isinstance(where, list)
    assert len(set(where)) == 1
    assert where[0].endswith("/environment 1.0")
    assert "has no packed environment `absent`" in str(found["absent"])
    assert "start Spark with `spark.archives=FILE.tar.gz#absent`" in str(found["absent"])


MAKE_FOREST = """
import json, pickle, sys
from importlib.metadata import version
from pathlib import Path
import numpy, pandas
from sklearn.ensemble import RandomForestRegressor
generator = numpy.random.default_rng(0)
names = ["x%d" % number for number in range(10)]
def make(rows):
    return pandas.DataFrame(generator.normal(size=(rows, 10)), columns=names)
train, rows = make(2000), make(1_000_000)
model = RandomForestRegressor(n_estimators=10, max_depth=8, random_state=0).fit(train, train.x0 * 2 + train.x1**2)
place = Path("forest")
place.mkdir()
(place / "model.pkl").write_bytes(pickle.dumps(model))
inputs = [{"type": "double", "name": name} for name in names]
function = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"}
own = {"pickled_model": "model.pkl", "serialization_format": "pickle"}
(place / "MLmodel").write_text(json.dumps(
    {"flavors": {"sklearn": own, "python_function": function}, "signature": {"inputs": json.dumps(inputs)}}
))
pins = ["%s==%s" % (name, version(name)) for name in ("scikit-learn", "numpy", "pandas")]
Path("requirements.in").write_text("\\n".join(pins))
numpy.save("expected.npy", model.predict(rows))
rows.insert(0, "id", numpy.arange(len(rows)))
import pyarrow
rows.to_parquet("rows.parquet")
"""
COMPARE = """
import json, sys
import numpy, pandas
found = pandas.read_parquet(sys.argv[1]).sort_values("id")
expected = numpy.load("expected.npy")
print(json.dumps([len(found), bool((found["id"] == numpy.arange(len(expected))).all()),
    bool((found["prediction"].to_numpy() == expected).all()), pandas.__version__]))
"""


def compare(environment: TestEnvironment, path: str) -> list[object]:
    done = subprocess.run([environment.python, "-c", COMPARE, path], check=True, capture_output=True, text=True)
    found: list[object] = json.loads(done.stdout)
    return found


def test_a_million_rows_are_complete_and_equal_where_an_executor_is_killed(
    spark: TestEnvironment, mlflow: TestEnvironment, cache: Path, tmp_path: Path
) -> None:
    """The executors restore the model's environment themselves, from a bundle, into a store of their own."""
    repro = str(Path(spark.python).with_name("repro"))
    subprocess.run([mlflow.python, "-c", MAKE_FOREST], check=True)
    environ = {**os.environ, "MLFLOW_SNAPSHOT_CACHE": str(cache)}
    lock = "forest/requirements-lock.txt"
    subprocess.run([repro, "lock", "requirements.in", "-o", lock, "--python", mlflow.python], check=True, env=environ)
    subprocess.run([repro, "bundle", lock, "-o", "forest.zip"], check=True, env=environ)
    request = {
        "model": "forest", "bundle": "forest.zip", "input": "rows.parquet", "output": "scored",
        "executor_cache": str(tmp_path / "executors"),
    }  # fmt: skip
    found = run_job(spark, "cluster", request, MLFLOW_SNAPSHOT_CACHE=str(cache))
    after, models, failed = found["after"], found["models"], found["failed"]
    assert isinstance(after, int)
    assert isinstance(models, list)
    assert isinstance(failed, int)
    assert 4 <= after < 40
    assert list(map(len, models)) == [1, 1]
    assert failed >= 1
    assert found["left"] == []
    rows, has_all, is_equal, pandas = compare(mlflow, "scored")
    assert (rows, has_all, is_equal) == (1_000_000, True, True)
    assert pandas != found["pandas"]
    assert not found["has_sklearn"]
    assert not list(cache.glob("repro/v1/envs/*"))
    assert list((tmp_path / "executors").glob("repro/v1/envs/*"))
    restored = ["--restore", "--cache", str(tmp_path / "executors"), "--offline"]
    subprocess.run([repro, "score", "forest", "rows.parquet", "local.parquet", *restored], check=True)
    assert compare(mlflow, "local.parquet")[:3] == [1_000_000, True, True]
