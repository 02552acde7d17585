"""Score a table of Parquet files on Spark: what `repro score --engine spark` does."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repro import settings
from repro.environments.machine import Machine
from repro.errors import ModelError, UsageError
from repro.files import new_nonce, remove_tree
from repro.models.load import LoadRequest
from repro.models.score_table import ScoredTable, TableRequest, check_input
from repro.models.spark import UdfRequest, check_spark, get_context, make_udf
from repro.values import field, frozen

_SAID = re.compile(r"\brepro\.[\w.]+Error: (.+?)(?:\n\n\s*the traceback|\n\s*at |$)", re.DOTALL)
_JAVA = re.compile(r"An error occurred while calling \S+\s+: (?:[\w$]+\.)*[\w$]+: ")
_INDEX = "__index_level_"


@frozen
class SparkOptions:
    """Which Spark, and where its executors have the environment from; `cache` is the directory of their stores."""

    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    bundle: str | None = None
    packed: str | None = None
    cache: str | None = None


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _is_remote(path: str) -> bool:
    return "://" in path


def choose_conf(where: SparkOptions) -> dict[str, str]:
    """Return Spark's configuration: a session of this machine listens on loopback alone."""
    conf = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    if where.master and where.master.startswith("local"):
        conf |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    return conf | dict(where.conf)


def refuse_connect(where: SparkOptions, environ: Mapping[str, str]) -> None:
    """Raise UsageError where a server of Spark Connect is meant; its address may hold a token, and is not said."""
    option = "--master" if (where.master or "").startswith("sc://") else None
    if option or settings.has_spark_remote(environ):
        raise UsageError(
            f"`{option or 'SPARK_REMOTE'}` names a server of Spark Connect, which a model cannot be sent to",
            hint="name Spark's own master: `--master spark://HOST:PORT`" + ("" if option else ", and no SPARK_REMOTE"),
        )


def find_sentence(text: str) -> str | None:
    """Return the sentence of ours that is in what Spark says, None where there is none."""
    found = _SAID.search(text)
    return " ".join(found[1].split()) if found else None


def shorten(text: str) -> str:
    """Return what Spark says without where in Java it was said."""
    said = _JAVA.sub("", text).partition("\n\tat ")[0]
    return " ".join(said.split())[:1000]


@contextmanager
def _explain(what: str) -> Iterator[None]:
    """Turn what Spark raises into one sentence. Raises ModelError."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        said = str(error)
        hint = "what Java has said is above; without it, install one" if "JAVA_GATEWAY" in said else None
        raise ModelError(find_sentence(said) or f"{what}: {shorten(said)}", hint=hint) from error


def _start_spark(where: SparkOptions) -> Any:
    """Return a session. Raises ModelError where Spark cannot be started, UsageError for one of Spark Connect."""
    from pyspark.sql import SparkSession

    settings.name_spark_python(settings.own_python())
    builder = SparkSession.builder.appName("repro score")
    if where.master:
        builder = builder.master(where.master)
    for name, value in choose_conf(where).items():
        builder = builder.config(name, value)
    with _explain("Spark cannot be started"):
        session = builder.getOrCreate()
    get_context(session).setLogLevel("ERROR")
    return session


def choose_columns(names: list[str], request: TableRequest, features: list[str] | None) -> tuple[list[str], list[str]]:
    """Return the columns that the model is given and those that are kept. Raises UsageError."""
    given = [each for each in names if not each.startswith(_INDEX)] if features is None else features
    kept = names if request.keep is None else list(request.keep)
    if missing := [each for each in kept if each not in names]:
        raise UsageError(f"the input has no column {', '.join(f'`{each}`' for each in missing)}")
    if request.column in kept:
        raise UsageError(f"the input has a column `{request.column}` already", hint="name the new one with `--column`")
    return [each for each in given if each in names], kept


def _read(spark: Any, path: str) -> Any:
    with _explain(f"`{path}` cannot be read"):
        return spark.read.parquet(path if _is_remote(path) else os.path.abspath(path))


def _check_output(output: str) -> None:
    if not _is_remote(output) and Path(output).exists():
        raise UsageError(f"`{output}` is there already", hint="remove it, or name another")


@contextmanager
def _open_output(output: str) -> Iterator[str]:
    """Yield where Spark is to write; on this machine's disk the directory is there whole or not at all."""
    if _is_remote(output):
        yield output
        return
    _check_output(output)
    target = Path(output).absolute()
    temporary = target.with_name(f".{new_nonce()}.tmp")
    try:
        yield str(temporary)
        os.rename(temporary, target)
    except OSError as error:
        raise UsageError(f"`{output}` cannot be written ({error.strerror})") from error
    finally:
        remove_tree(temporary)


def _score(spark: Any, udf: Any, request: TableRequest, features: list[str] | None) -> int:
    from pyspark.sql.functions import col, struct

    frame = _read(spark, request.input)
    given, kept = choose_columns(frame.columns, request, features)
    answer = udf(struct(*(col(_quote(each)) for each in given))).alias(request.column)
    with _open_output(request.output) as target, _explain("Spark has failed"):
        frame.select(*(col(_quote(each)) for each in kept), answer).write.parquet(target)
        return int(spark.read.parquet(target).count())


def score_on_spark(
    machine: Machine, load: LoadRequest, request: TableRequest, where: SparkOptions, say: Callable[[str], None]
) -> ScoredTable:
    """Write a directory of Parquet files with the rows of a table and the model's answers.

    Raises ModelError, UsageError, TrackingError and what restoring raises.
    """
    check_spark()
    refuse_connect(where, machine.environ)
    if not _is_remote(request.input):
        check_input(request.input)
    _check_output(request.output)
    begun = time.monotonic()
    machine.report(f"starting Spark ({where.master or 'as it is configured'})")
    spark = _start_spark(where)
    try:
        asked = UdfRequest(
            result=request.result,
            params=request.params,
            packed=where.packed,
            bundle=Path(where.bundle) if where.bundle else None,
            cache=where.cache,
        )
        made = make_udf(machine, spark, load, asked, say)
        machine.report("scoring on Spark")
        rows = _score(spark, made.udf, request, made.features)
    finally:
        spark.stop()
    return ScoredTable(rows=rows, seconds=time.monotonic() - begun, environment=made.environment)
