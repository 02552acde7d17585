"""What is tried in an environment with Spark: `spark_jobs.py JOB REQUEST.json` prints what it has found."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyspark import SparkStageInfo
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, struct
from pyspark.sql.types import ArrayType, DoubleType, StringType, StructField, StructType

import repro

TASKS = 40


def start(master: str, **conf: str) -> SparkSession:
    builder = SparkSession.builder.master(master).appName("repro's tests")
    settled = {
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2", "spark.sql.execution.arrow.maxRecordsPerBatch": "4",
    }  # fmt: skip
    for name, value in {**settled, **{key.replace("__", "."): each for key, each in conf.items()}}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def list_values(frame: DataFrame) -> list[object]:
    return [row.asDict(recursive=True)["p"] for row in frame.collect()]


def find_processes(pattern: str) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and re.search(pattern, (path / "cmdline").read_bytes().decode(errors="replace")):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def say_error(frame: DataFrame) -> str:
    try:
        frame.collect()
    except Exception as error:
        return str(error)
    return "no error"


def say_refusal(deed: Callable[[], object]) -> str:
    try:
        deed()
    except repro.ReproError as error:
        return str(error)
    return "no error"


def find_model_processes(found: list[str]) -> list[str]:
    """Return the pids, of those that models have told, that are still there."""
    return [pid for pid in found if Path(f"/proc/{pid}").exists()]


def try_all(request: dict[str, str]) -> dict[str, object]:
    """Every type and every way to name columns, in one session."""
    spark = start("local[2]")
    rows = spark.createDataFrame(
        [(float(number), number, f"t{number}") for number in range(20)], "x double, n int, t string"
    )
    rows = rows.repartition(4).sortWithinPartitions("n").cache()
    model, found = request["model"], {}

    def ask(type_: object, *columns: object) -> list[object]:
        udf = repro.spark_udf(spark, model, type_, params={"answer": "all"})
        answered = rows.select(col("n"), udf(*columns).alias("p")).sort("n")
        return list_values(answered)

    found["double"] = ask("double", struct("n", "x", "t"))
    found["long"] = ask("long", "x", "n")
    found["string"] = ask(StringType(), struct(col("x"), col("n"), col("t")))
    found["boolean"] = ask("boolean")
    found["array"] = ask(ArrayType(DoubleType()))
    found["struct"] = ask(StructType([StructField("half", DoubleType()), StructField("text", StringType())]))
    found["nested"] = ask("text string, list array<bigint>")
    spark.udf.register("half", repro.spark_udf(spark, model, params={"answer": "all"}))
    rows.createOrReplaceTempView("rows")
    rows.write.parquet(request["rows"])
    by_order = repro.spark_udf(spark, request["nameless"], "string", params={"answer": "names"})
    found["names"] = list_values(rows.select(by_order("n", "t").alias("p")))
    found["many"] = say_refusal(lambda: repro.spark_udf(spark, model)("x", "n", "t", "n"))
    found["sql"] = list_values(spark.sql("select half(struct(*)) as p from rows order by n"))
    pids = repro.spark_udf(spark, model, "string", params={"answer": "pid"})
    asked = [list_values(rows.select(pids().alias("p"))) for _ in range(3)]
    found["pids"] = len({pid for each in asked for pid in each})
    found["where"] = list_values(
        rows.limit(1).select(repro.spark_udf(spark, model, "string", params={"answer": "where"})().alias("p"))
    )
    found["raises"] = say_error(rows.select(repro.spark_udf(spark, model, params={"answer": "fail"})()))
    once = {"answer": "once", "marker": request["marker"]}
    revived = repro.spark_udf(spark, model, params=once)
    found["revived"] = list_values(rows.select(col("n"), revived().alias("p")).sort("n"))
    found["dies"] = say_error(rows.select(repro.spark_udf(spark, model, params={"answer": "die"})()))
    found["misses"] = say_error(rows.select(repro.spark_udf(spark, model)(struct("n"))))
    found["other"] = say_error(rows.select(repro.spark_udf(spark, model, "int", params={"answer": "half"})()))
    spark.stop()
    found["left"] = wait_until_gone([pid for each in asked for pid in each])
    return found


def wait_until_gone(pids: list[object]) -> list[str]:
    end = time.monotonic() + 60
    told = sorted({str(pid) for pid in pids})
    while find_model_processes(told) and time.monotonic() < end:
        time.sleep(0.1)
    return find_model_processes(told)


def try_packed(request: dict[str, str]) -> dict[str, object]:
    """An environment that Spark unpacks, and executors whose Python has no repro."""
    spark = start("local[2]", spark__archives=f"{request['archive']}#environment")
    rows = spark.range(10).selectExpr("cast(id as double) as x", "cast(id as int) as n")
    udf = repro.spark_udf(spark, request["model"], "string", packed="environment", params={"answer": "where"})
    found: dict[str, object] = {"where": list_values(rows.select(udf("x", "n").alias("p")))}
    absent = repro.spark_udf(spark, request["model"], "string", packed="absent")
    found["absent"] = say_error(rows.select(absent("x", "n")))
    spark.stop()
    return found


def find_stage(spark: SparkSession) -> SparkStageInfo | None:
    """Return the stage that asks the model."""
    tracker = spark.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(each) for each in tracker.getActiveStageIds()]
    return next((each for each in stages if each and each.numTasks == TASKS), None)


def find_models(executor: int) -> list[int]:
    """Return the models' processes that an executor has started."""
    return [pid for pid in find_processes("model_worker.py") if executor in list_parents(pid)]


def list_parents(pid: int) -> list[int]:
    found = []
    try:
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            found.append(pid)
    except OSError:
        pass
    return found


@dataclass
class Killing:
    """An executor that was killed: after how many tasks, which models there were then, and how many tasks failed."""

    after: int = 0
    models: list[list[int]] = field(default_factory=list)
    failed: int = 0


def kill_one(spark: SparkSession, done: threading.Event, killing: Killing) -> None:
    """Kill an executor as soon as both have a model and some tasks are done, and look at what that makes fail.

    While tasks wait Spark gives an executor the next one at once, so that there always is one which is lost with it.
    """
    application = spark.sparkContext.applicationId
    while not done.wait(0.02):
        stage = find_stage(spark)
        if stage is None:
            continue
        if killing.after:
            killing.failed = max(killing.failed, stage.numFailedTasks)
        elif stage.numCompletedTasks >= 4:
            executors = find_processes(f"CoarseGrainedExecutorBackend.*{application}")
            models = [find_models(each) for each in executors]
            if len(executors) == 2 and all(models):
                os.kill(executors[0], signal.SIGKILL)
                killing.after, killing.models = stage.numCompletedTasks, models


def score_on_cluster(request: dict[str, str]) -> dict[str, object]:
    """A million rows on two executors, of which one is killed; each has one core, so one model."""
    spark = start(
        "local-cluster[2,1,1024]",
        spark__executorEnv__MLFLOW_SNAPSHOT_CACHE=request["executor_cache"],
        spark__sql__execution__arrow__maxRecordsPerBatch="10000",
    )
    killing = Killing()
    rows = spark.read.parquet(request["input"]).repartition(TASKS)
    udf = repro.spark_udf(spark, request["model"], bundle=request["bundle"])
    begun = time.monotonic()
    done = threading.Event()
    killer = threading.Thread(target=kill_one, args=(spark, done, killing))
    killer.start()
    try:
        scored = rows.withColumn("prediction", udf(struct(*(each for each in rows.columns if each != "id"))))
        scored.write.parquet(request["output"])
    finally:
        done.set()
        killer.join()
    seconds = time.monotonic() - begun
    spark.stop()
    left = wait_until_gone([pid for each in killing.models for pid in each])
    found: dict[str, object] = {**asdict(killing), "seconds": seconds, "left": left}
    found["pandas"] = importlib.metadata.version("pandas")
    found["has_sklearn"] = importlib.util.find_spec("sklearn") is not None
    return found


if __name__ == "__main__":
    jobs = {"all": try_all, "packed": try_packed, "cluster": score_on_cluster}
    print(json.dumps(jobs[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))))
