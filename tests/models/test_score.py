"""`repro score` on this machine, and how a model's answer becomes the type that is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, TestEnvironment
from tiny_models import make_model

from repro.errors import UsageError
from repro.models.result_type import describe_type, parse_result_type
from repro.models.score_table import TableRequest
from repro.models.spark_score import SparkOptions, choose_columns, find_sentence, refuse_connect, shorten

pytestmark = pytest.mark.mlflow  # its environment has pandas and pyarrow

SCORES = """
import os
class Scorer:
    def predict(self, data, params=None):
        if (data["x"] < 0).any(): raise ValueError("a negative x")
        if (data["x"] == 7).any(): os._exit(9)
        assert list(data) == ["x"]
        return data["x"].to_numpy() * 2 + (params or {}).get("k", 0)
def _load_pyfunc(path):
    return Scorer()
"""
MAKE_ROWS = """
import sys, pandas, pyarrow.parquet
frame = pandas.DataFrame({"id": range(200_000), "t": ["a", None] * 100_000, "x": [n % 7 for n in range(200_000)]})
frame.to_parquet("rows.parquet", row_group_size=30_000)
frame.assign(x=-1.0).head(1).to_parquet("negative.parquet")
frame.assign(x=7.0).head(1).to_parquet("deadly.parquet")
frame.head(0).to_parquet("empty.parquet")
"""
READ = """
import json, sys, pandas
print(json.dumps([{"columns": list(f), "rows": len(f), "types": [str(t) for t in f.dtypes], "head": json.loads(
    f.head(3).to_json(orient="values")), "sum": float(f.select_dtypes("number").iloc[:, -1].sum()) if len(f) else 0}
    for f in map(pandas.read_parquet, sys.argv[1:])]))
"""


def run(environment: TestEnvironment, code: str, *args: str) -> str:
    done = subprocess.run([environment.python, "-c", code, *args], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def rows(mlflow: TestEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rows")
    subprocess.run([mlflow.python, "-c", MAKE_ROWS], check=True, cwd=place)
    return place


def test_rows_are_written_with_what_the_model_answers(
    mlflow: TestEnvironment, rows: Path, tmp_path: Path, cli: Cli
) -> None:
    signature: dict[str, object] = {"inputs": [{"type": "double", "name": "x"}]}
    model = str(make_model(tmp_path / "scorer", SCORES, signature=signature))
    given = str(rows / "rows.parquet")
    said = json.loads(cli("score", model, given, "a.parquet", "--json", "--python", mlflow.python).stdout)
    seconds = said.pop("seconds")
    assert seconds > 0
    assert said == {
        "output": "a.parquet", "engine": "local", "rows": 200_000, "column": "prediction", "environment": None,
    }  # fmt: skip
    more = ["--keep", "id", "--column", "p", "--result-type", "a float", "-P", "k=1", "--python", mlflow.python]
    cli("score", model, given, "b.parquet", *more)
    whole, some = json.loads(run(mlflow, READ, "a.parquet", "b.parquet"))
    assert (whole["columns"], whole["rows"], whole["head"]) == (
        ["id", "t", "x", "prediction"], 200_000, [[0, "a", 0, 0.0], [1, None, 1, 2.0], [2, "a", 2, 4.0]],
    )  # fmt: skip
    assert whole["sum"] == sum(n % 7 * 2 for n in range(200_000))
    assert (some["columns"], some["head"]) == (["id", "p"], [[0, {"a": 1.0}], [1, {"a": 3.0}], [2, {"a": 5.0}]])
    for words, code, sentence in [
        (["absent.parquet", "o.parquet"], 2, "`absent.parquet` cannot be read"),
        ([str(rows / "negative.parquet"), "o.parquet"], 5, "ValueError: a negative x"),
        ([str(rows / "deadly.parquet"), "o.parquet"], 5, "has ended (exit code 9"),
        ([given, "absent/o.parquet"], 2, "`absent/o.parquet` cannot be written"),
        ([given, "o.parquet", "--master", "local"], 2, "are for `--engine spark`"),
        ([given, "o.parquet", "--engine", "spark"], 5, "which Spark's functions need\nhint: install `repro[spark]`"),
        ([given, "o.parquet", "-P", "k"], 2, "`--param k` is no NAME=VALUE"),
    ]:
        done = cli("score", model, *words, "--python", mlflow.python, code=code)
        assert sentence in done.stderr, done.stderr
    assert sorted(each.name for each in Path().iterdir()) == ["a.parquet", "b.parquet"]


def test_who_scores_without_restoring_is_warned(rows: Path, mlflow: TestEnvironment, tmp_path: Path, cli: Cli) -> None:
    signature: dict[str, object] = {"inputs": [{"type": "double", "name": "x"}]}
    model = make_model(tmp_path / "scorer", SCORES, signature=signature)
    (model / "requirements.txt").write_text("absent==9.9\n")
    given = str(rows / "rows.parquet")
    said = cli("score", str(model), given, "a.parquet", "--python", mlflow.python).stderr
    assert "absent" in said
    assert "Restore it with `repro score " in said
    refused = cli("score", str(model), given, "b.parquet", "--python", mlflow.python, "--policy", "error", code=None)
    assert refused.returncode != 0
    assert "absent" in refused.stderr


PLAIN = """
class Plain:
    def predict(self, data, params=None):
        if min(data["x"]) < 0: raise ValueError("a negative x")
        return [x * 2 + (params or {}).get("k", 0) for x in data["x"]]
def _load_pyfunc(path):
    return Plain()
"""
SCORE_HERE = """
import json, os, sys
sys.path[:0] = [sys.argv[1]]
import pandas
from repro.environments.machine import Machine
from repro.errors import ReproError
from repro.models.environment import EnvironmentWish
from repro.models.load import LoadRequest
from repro.models.result_type import Scalar
from repro.models.score_table import TableRequest, score_table
load = LoadRequest(uri=sys.argv[2], wish=EnvironmentWish(python=sys.argv[3]))
def score(name, output, **given):
    asked = TableRequest(input=os.path.join(sys.argv[4], name), output=output, **given)
    try:
        rows = score_table(Machine.here(cache="cache"), load, asked, print).rows
    except ReproError as error:
        return error.message
    frame = pandas.read_parquet(output)
    return [rows, list(frame), float(frame.iloc[:, -1].sum()), frame.head(2).values.tolist()]
print(json.dumps([
    score("rows.parquet", "a.parquet", params={"k": 1}, keep=("id",)), score("empty.parquet", "b.parquet"),
    score("negative.parquet", "c.parquet"), score("rows.parquet", "d.parquet", column="x"),
    score("rows.parquet", "e.parquet", result=Scalar(name="int"), params={"k": 0.5}), sorted(os.listdir()),
]))
"""


def test_repro_reads_the_table_where_the_models_environment_cannot(
    mlflow: TestEnvironment, rows: Path, tmp_path: Path, cli: Cli
) -> None:
    model = str(make_model(tmp_path / "plain", PLAIN, signature={"inputs": [{"type": "long", "name": "x"}]}))
    found = json.loads(run(mlflow, SCORE_HERE, str(REPOSITORY), model, sys.executable, str(rows)))
    assert found == [
        [200_000, ["id", "prediction"], sum(n % 7 * 2 + 1 for n in range(200_000)), [[0, 1], [1, 3]]],
        [0, ["id", "t", "x", "prediction"], 0, []],
        "ValueError: a negative x",
        "the input has a column `x` already: name the new one with `--column`",
        "no column of the model's answer can be `int`: it has `object`",
        ["a.parquet", "b.parquet"],
    ]
    done = cli("score", model, str(rows / "rows.parquet"), "o.parquet", "--python", sys.executable, code=5)
    assert "neither the model's environment nor repro's can read Parquet: the model's has no `pandas`" in done.stderr
    assert not Path("o.parquet").exists()


TABLES = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import pyarrow.parquet
import model_result, model_table
def try_one(**given):
    request = {"output": "o.parquet", "result": {"type": "double"}, "name": "p", "keep": None, "features": None,
               "batch": 1000, **given}
    asked = []
    def ask(frame):
        asked.append(list(frame))
        return [0.5] * len(frame)
    try:
        table = model_table.Table(request, model_result.convert)
        batches = 0
        while table.score(ask):
            batches += 1
        table.close()
    except (model_table.TableError, model_result.ResultError) as error:
        return str(error)
    written = pyarrow.parquet.read_table("o.parquet")
    return [table.rows, batches, written.num_rows, written.column_names, say(written.schema.field("p").type), asked[:1]]
def say(type_):
    return str(type_).replace("element", "item")  # its name in files of now
os.makedirs("parts/x=1")
os.makedirs("none")
os.makedirs("two")
for name in ("a", "b"):
    os.link(sys.argv[2] + "/negative.parquet", "two/%s.parquet" % name)
open("two/_SUCCESS", "w").close()
print(json.dumps([
    try_one(input=sys.argv[2] + "/rows.parquet", features=["x", "absent"], keep=["t"]),
    try_one(input=sys.argv[2] + "/empty.parquet", result={"struct": [["a", {"array": {"type": "int"}}]]}),
    try_one(input="two", result={"array": {"type": "string"}}),
    try_one(input=sys.argv[2] + "/rows.parquet", name="x"), try_one(input=sys.argv[2] + "/rows.parquet", keep=["y"]),
    try_one(input="parts"), try_one(input="none"), try_one(input="two/_SUCCESS"),
]))
"""


def test_a_table_is_read_in_batches_and_what_is_wrong_with_it_is_said(
    mlflow: TestEnvironment, rows: Path, tmp_path: Path
) -> None:
    found = json.loads(run(mlflow, TABLES, str(REPOSITORY / "repro" / "inside"), str(rows)))
    assert found[0] == [200_000, 200, 200_000, ["t", "p"], "double", [["x"]]]
    assert found[1] == [0, 0, 0, ["id", "t", "x", "p"], "struct<a: list<item: int32>>", []]
    assert found[2] == [2, 2, 2, ["id", "t", "x", "p"], "list<item: string>", [["id", "t", "x"]]]
    assert found[3:7] == [
        "the input has a column `x` already: name the new one with `--column`",
        "the input has no column `y`; it has `id`, `t`, `x`",
        "`parts` has directories, which are partitions: `--engine spark` reads these",
        "`none` has no files that end in `.parquet`",
    ]
    assert found[7].startswith("`two/_SUCCESS` cannot be read as Parquet: ")


CONVERT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy, pandas
import model_result, model_table
answers = {
    "floats": numpy.array([1.5, 2.5]), "wide": numpy.arange(6).reshape(2, 3), "texts": ["x", None],
    "holes": [1, None], "lists": [[1, 2], [3]], "large": numpy.array([1 << 40, 1]), "one": 3.0,
    "cube": numpy.ones((2, 1, 2)),
    "frame": pandas.DataFrame({"label": ["a", "b"], "score": [0.5, 1.5], "n": [1, 2]}),
    "records": [{"label": "a", "at": {"x": 1}, "ps": [{"y": 1}]}, {"label": "b", "at": {"x": 2}, "ps": []}],
    "masked": pandas.Series([True, None], dtype="boolean"), "named": {"b": ["x", "y"], "a": [1, 2]},
    "classes": pandas.Series(["u", "v"], dtype="category", index=[7, 8]),
}
found = []
for name, tree in json.loads(sys.argv[2]):
    assert len(model_table.make_array(model_result.make_empty(tree), tree)) == 0
    try:
        found.append(model_table.make_array(model_result.convert(answers[name], 2, tree), tree).to_pylist())
    except model_result.ResultError as error:
        found.append(str(error))
print(json.dumps(found))
"""
CONVERTED: list[tuple[str, str, object]] = [
    ("floats", "double", [1.5, 2.5]),
    ("floats", "string", ["1.5", "2.5"]),
    ("floats", "boolean", [True, True]),
    ("floats", "long", "no column of the model's answer can be `long`: it has `float64`"),
    ("wide", "int", [0, 3]),
    ("wide", "array<float>", [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
    ("wide", "a int, b double, c string", [{"a": 0, "b": 1.0, "c": "2"}, {"a": 3, "b": 4.0, "c": "5"}]),
    ("wide", "a int, b int", "the model's answer has no `a`, `b`: it has `int64`, `int64`, `int64`"),
    ("texts", "string", ["x", None]),
    ("texts", "double", "no column of the model's answer can be `double`: it has `object`"),
    ("holes", "long", [1, None]),
    ("holes", "double", [1.0, None]),
    ("lists", "array<long>", [[1, 2], [3]]),
    ("lists", "array<string>", [["1", "2"], ["3"]]),
    ("lists", "array<array<int>>", "the model's answer has arrays of values, and not of array<int>"),
    ("large", "int", "no column of the model's answer can be `int`: it has `int64`"),
    ("large", "long", [1 << 40, 1]),
    ("one", "double", "`predict` has answered with a `float`, and not with a value for each row"),
    ("cube", "array<array<double>>", [[[1.0, 1.0]], [[1.0, 1.0]]]),
    ("frame", "double", [0.5, 1.5]),
    ("frame", "int", [1, 2]),
    ("frame", "array<string>", [["a", "0.5", "1"], ["b", "1.5", "2"]]),
    ("frame", "score float, label string", [{"score": 0.5, "label": "a"}, {"score": 1.5, "label": "b"}]),
    (
        "frame",
        "absent int",
        "the model's answer has no `absent`: it has `label` (`str`), `score` (`float64`), `n` (`int64`)",
    ),
    ("frame", "label double", "`label`: no column of the model's answer can be `double`: it has `str`"),
    ("records", "label string, at struct<x:int>", [{"label": "a", "at": {"x": 1}}, {"label": "b", "at": {"x": 2}}]),
    ("records", "ps array<struct<y:int>>", [{"ps": [{"y": 1}]}, {"ps": []}]),
    ("masked", "boolean", [True, None]),
    ("named", "array<string>", [["x", "1"], ["y", "2"]]),
    ("classes", "string", ["u", "v"]),
]


def test_an_answer_becomes_what_is_asked_for_as_in_mlflow(mlflow: TestEnvironment) -> None:
    asked = json.dumps([[name, describe_type(parse_result_type(text))] for name, text, _ in CONVERTED])
    found = json.loads(run(mlflow, CONVERT, str(REPOSITORY / "repro" / "inside"), asked))
    assert [(name, text, each) for (name, text, _), each in zip(CONVERTED, found, strict=True)] == CONVERTED


def test_columns_of_a_table_on_spark_are_those_that_the_model_names() -> None:
    request = TableRequest(input="", output="", keep=("id",))
    assert choose_columns(["id", "b", "a"], request, ["a", "b", "c"]) == (["a", "b"], ["id"])
    everything = TableRequest(input="", output="")
    assert choose_columns(["a", "__index_level_0__"], everything, None) == (["a"], ["a", "__index_level_0__"])
    with pytest.raises(UsageError, match="no column `id`"):
        choose_columns(["a"], request, None)
    with pytest.raises(UsageError, match="has a column `prediction` already"):
        choose_columns(["prediction"], everything, None)


def test_a_server_of_spark_connect_is_refused_without_its_token() -> None:
    for master, remote, named in [("sc://h/;token=t", "", "`--master`"), (None, "sc://h/;token=t", "`SPARK_REMOTE`")]:
        with pytest.raises(UsageError) as caught:
            refuse_connect(SparkOptions(master=master), {"SPARK_REMOTE": remote})
        assert caught.value.message == f"{named} names a server of Spark Connect, which a model cannot be sent to"
        assert "token" not in str(caught.value.hint)
    refuse_connect(SparkOptions(master="local"), {})


def test_the_sentence_of_an_executor_is_found_in_what_spark_says() -> None:
    said = (
        'An exception was thrown from the Python worker. Traceback:\n  File "a.py", line 1, in b\n'
        "repro.models.worker.RemoteError: `m` has failed on a batch of 4 rows: ValueError: too\nbad\n\n"
        "the traceback in the model's environment:\nTraceback (most recent call last):\n"
    )
    assert find_sentence(said) == "`m` has failed on a batch of 4 rows: ValueError: too bad"
    assert find_sentence("repro.errors.ModelError: `m`: it is odd\n\tat org.apache") == "`m`: it is odd"
    assert find_sentence("java.lang.OutOfMemoryError: heap") is None


def test_what_spark_says_is_told_without_where_in_java() -> None:
    said = "An error occurred while calling o42.parquet.\n: org.apache.spark.SparkException: [FAILED] It\nis\n\tat a.b"
    assert shorten(said) == "[FAILED] It is"
    assert shorten("[JAVA_GATEWAY_EXITED] It\nhas ended.") == "[JAVA_GATEWAY_EXITED] It has ended."
