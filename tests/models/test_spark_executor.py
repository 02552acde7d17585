"""What an executor of Spark's does with batches of rows, without Spark: a script that is told where its files are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment
from tiny_models import make_model

from repro.errors import UsageError
from repro.models.directory import describe, read_directory
from repro.models.result_type import describe_type, parse_result_type
from repro.models.spark import get_context
from repro.models.spark_errand import MODEL_DIR, Errand, Parcel, pack_errand
from repro.models.spark_parcel import list_files, make_parcel

MORTAL = """
import os
class Mortal:
    def predict(self, data, params=None):
        with open(os.environ["STARTED"], "a") as file:
            file.write("%d\\n" % os.getpid())
        first = data["x"].iloc[0]
        if first == 1: raise ValueError("what it raises")
        with open(os.environ["STARTED"]) as file:
            others = set(file.read().split()) - {str(os.getpid())}
        if first == 9 or (first == 7 and not others): os._exit(9)
        return [" ".join(["%d" % os.getpid(), *map(str, data.iloc[0])])] * len(data)
def _load_pyfunc(path):
    return Mortal()
"""
SCORE = """
import json, sys, types, warnings
sys.path[:0] = [sys.argv[1]]
sys.modules["pyspark"] = types.ModuleType("pyspark")
sys.modules["pyspark"].SparkFiles = types.SimpleNamespace(getRootDirectory=lambda: sys.argv[2])
import pandas
from repro.models.spark_executor import score_batches
errands = json.loads(sys.argv[3])
def frame(first, rows=2):
    return pandas.DataFrame({"x": [first] * rows, "y": ["a"] * rows})
def score(name, *batches):
    answers = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for answer in score_batches(errands[name], iter(batches)):
                answers.append(list(answer))
        except Exception as error:
            answers.append("%s: %s" % (type(error).__name__, error))
    return answers + [str(each.message) for each in caught]
two, none = frame(2), frame(2, 0)
print(json.dumps([
    score("model", frame(7), two), score("model", none, two), score("model", frame(9), two), score("model", two),
    score("model", (two["y"], two["x"])), score("model", (two["y"],) * 3), score("model", frame(1)),
    score("other", two), score("broken", two), score("number", two),
]))
"""


@pytest.mark.mlflow  # its environment has pandas
def test_a_models_process_is_kept_from_task_to_task_and_replaced_once_for_a_batch(
    mlflow: TestEnvironment, tmp_path: Path
) -> None:
    directory = make_model(tmp_path / "mortal", MORTAL)
    parcel, path = make_parcel("model", {f"{MODEL_DIR}/{name}": each for name, each in list_files(directory).items()})
    files = tmp_path / "files"
    files.mkdir()
    (files / parcel.name).write_bytes(path.read_bytes())
    (files / "broken.zip").write_bytes(path.read_bytes()[:-1])

    def pack(parcel: Parcel = parcel, type_: str = "string", started: str = "started") -> dict[str, object]:
        description, result = describe(read_directory(directory)), describe_type(parse_result_type(type_))
        return pack_errand(
            Errand(
                name="mortal", model=parcel, description=description, result=result, features=("y", "x"),
                variables={"STARTED": str(tmp_path / started)},
            )
        )  # fmt: skip

    errands = {
        "model": pack(), "other": pack(started="other"), "number": pack(type_="double"),
        "broken": pack(Parcel(name="broken.zip", sha256="0" * 64)),
    }  # fmt: skip
    command = [mlflow.python, "-c", SCORE, str(REPOSITORY), str(files), json.dumps(errands)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    revived, again, lost, after, by_order, many, raised, other, broken, number = json.loads(done.stdout)
    first, second, third, fourth = dict.fromkeys((tmp_path / "started").read_text().split())
    lost_one = "the process that holds the model `mortal` has ended (exit code 9; what it said is above)"
    anew = f"{lost_one}: another is asked the batch of 2 rows again"
    assert revived == [[f"{second} 7 a"] * 2, [f"{second} 2 a"] * 2, anew]
    assert again == [[], [f"{second} 2 a"] * 2]
    assert lost == [f"WorkerLostError: {lost_one}", anew]
    assert after == [[f"{fourth} 2 a"] * 2]
    assert by_order == [[f"{fourth} a 2"] * 2]
    assert many == ["ModelError: the model takes 2 columns, not 3"]
    assert len({first, second, third, fourth}) == 4
    assert raised[0].startswith("RemoteError: `mortal` has failed on a batch of 2 rows: ValueError: what it raises\n\n")
    assert "in predict" in raised[0]
    assert other[0][0].partition(" ")[0] not in {first, second, third, fourth}
    assert broken[0].startswith("ModelError: `broken.zip` has reached the executor on ")
    assert number == ["ModelError: `mortal`: no column of the model's answer can be `double`: it has `object`"]
    assert sorted(each.suffix for each in files.iterdir()) == [".d", ".zip", ".zip"]


class ConnectSession:
    """A session of Spark Connect, as far as it is looked at."""

    __module__ = "pyspark.sql.connect.session"

    @property
    def sparkContext(self) -> object:
        raise AttributeError("[JVM_ATTRIBUTE_NOT_SUPPORTED]")


def test_a_session_of_spark_connect_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        get_context(ConnectSession())
    assert caught.value.message == (
        "`spark` is a session of Spark Connect, which has no SparkContext to send a model to executors with"
    )
    assert "SparkSession.builder.master" in str(caught.value.hint)
