"""The newest MLflow, over the very same directory, finds the same in the same order."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import TestEnvironment
from layout import make_run, write_experiment, write_run

from repro.errors import TrackingError
from repro.formats.run_meta import RunStatus
from repro.tracking.entities import Dataset, ExperimentQuery, Run, RunQuery, ViewType
from repro.tracking.file_store import FileStore
from repro.tracking.index.database import INDEX_FILE

pytestmark = pytest.mark.mlflow

WINE = Dataset(name="wine", digest="d1", source_type="local", source="{}", tags={"mlflow.data.context": "train"})
IRIS = Dataset(name="iris", digest="d2", source_type="local", source="{}", tags={"mlflow.data.context": "eval"})
NUMBERS = (0.1, 0.5, 0.5, -3.0, math.nan, math.inf, -math.inf, None, 1e-9, 2.0)

FILTERS = [
    "", "metrics.m > 0.4", "metrics.m >= 0.5", "metrics.m = 0.5", "metrics.m != 0.5", "metric.m < 0",
    "metrics.m<=-3", "metrics.m != 7", "metrics.m > -1e10", "metrics.m < 1E-3", "metrics.m > .4",
    "metrics.`a b/c` > 3", 'metrics."a b/c" <= 3', "params.lr = '0.1'", "param.lr != '0.1'",
    "parameter.lr LIKE '0.%'", "parameters.lr LIKE '0._'", "params.lr like '%1'", "params.kind ILIKE 'SVM%'",
    "params.kind LIKE 'SVM%'", "params.kind LIKE 'svm'", 'params.kind = "it\'s"', "params.kind LIKE '%(%'",
    "params.kind = ''", "params.kind LIKE ''", "params.kind LIKE '%'", "params.kind IS NULL",
    "params.kind IS NOT NULL", "tags.team IS NULL", "tag.`team` = 'red'", "tags.team != 'red'",
    "tags.mlflow.source.name = 'a.py'", "tags.`mlflow.source.name` LIKE '%.py' AND metrics.m > 0",
    "status = 'FINISHED'", "attributes.status != 'FINISHED'", "attribute.status LIKE 'F%'", "run.status = 'RUNNING'",
    "attr.user_id = 'ada'", "run_name = 'run-3'", "attributes.`Run name` LIKE 'run-%'",
    'attributes."run name" = \'run-4\'', "start_time > 1001", "start_time >= 1001.5", "attributes.created <= 1001",
    "end_time > 0", "end_time != 1006", "Created = 1002", "artifact_uri LIKE 'file:%'",
    "artifact_uri ILIKE 'FILE:%/0/%'", "RUN_IDS", "NOT RUN_IDS", "run_id = 'x'", "run_id LIKE '%a'",
    "datasets.name = 'wine'", "dataset.name != 'wine'", "datasets.digest LIKE 'd%'", "datasets.context = 'eval'",
    "datasets.name IN ('iris')", "datasets.context NOT IN ('eval', 'x')",
    "datasets.name ILIKE 'WINE' AND metrics.m >= 0.1", "metrics.m > 0 AND params.lr = '0.1' and tags.team = 'red'",
    "metrics.m > 'a'", "metrics.m LIKE 'a'", "params.lr > '1'", "params.lr = 0.1", "foo = 'a'",
    "attributes.foo = 'a'", "model.foo = 'a'", "metrics.m > 1 OR metrics.m < 0", "status IN ('FINISHED')",
    "run_id IN ()", "run_id IN (1)", "start_time IS NULL", "start_time = '3'", "metrics.m == 1", "metrics.m > nan",
    "datasets.size = 'a'", "(metrics.m > 1)",
]  # fmt: skip
ORDERS = [
    [], ["metrics.m"], ["metrics.m DESC"], ["metrics.m ASC", "params.lr DESC"], ["params.lr"], ["params.kind desc"],
    ["tags.team", "metrics.m DESC"], ["attributes.start_time"], ["start_time DESC"], ["Created ASC"],
    ["run_name DESC"], ["status", "run_id DESC"], ["end_time"], ["attributes.end_time DESC"], ["metrics.`a b/c`"],
    ['metrics."a b/c" DESC'], ["metrics.nothing"], ["run_id"], ["artifact_uri DESC"], ["user_id"], ["foo"],
    ["datasets.name"], ["metrics.m sideways"],
]  # fmt: skip
EXPERIMENT_FILTERS = [
    "", "name = 'wine'", "name != 'wine'", "name LIKE 'w%'", "attribute.name ILIKE 'W%'", "creation_time > 1000",
    "last_update_time <= 1500", "tags.team = 'red'", "tag.team != 'red'", "tags.team IS NULL",
    "tags.`team` IS NOT NULL", "experiment_id IN ('0', '7')", "experiment_id NOT IN ('0')", "name IN ('wine')",
    "foo = 'a'", "metrics.a > 3", "name = 'wine' AND tags.team LIKE 'r%'",
]  # fmt: skip
EXPERIMENT_ORDERS = [
    [], ["name"], ["name DESC"], ["creation_time"], ["last_update_time DESC", "name"], ["experiment_id"],
    ["experiment_id DESC"], ["tags.team"], ["foo"],
]  # fmt: skip


def make_runs() -> list[Run]:
    runs = []
    for number in range(60):
        metric = NUMBERS[number % len(NUMBERS)]
        metrics = {} if metric is None else {"m": metric}
        if number % 4 == 0:
            metrics["a b/c"] = number / 4
        params = {"lr": ("0.1", "0.01", "1")[number % 3]}
        if number % 5:
            params["kind"] = ("svm", "SVM (rbf)", "it's", "")[number % 4]
        tags = {"team": "red" if number % 2 else "blue"} if number % 3 else {}
        tags["mlflow.source.name"] = ("a.py", "b.sh")[number % 2]
        datasets = ((), (WINE,), (IRIS,), (WINE, IRIS))[number % 4]
        made = make_run(
            number, metrics=metrics, params=params, tags=tags, datasets=datasets, start_time_ms=1000 + number // 7,
            status=list(RunStatus)[number % 5], experiment_id="07"[number % 11 == 0],
            stage="deleted" if number % 13 == 0 else "active",
        )  # fmt: skip
        runs.append(made)
    return runs


def make_experiments(root: Path) -> None:
    write_experiment(root, "0", "Default")
    write_experiment(root, "7", "wine", created=2000, updated=2500, tags={"team": "red"})
    write_experiment(root, "12", "Wine 2", created=2000, updated=1500, tags={"team": "blue"})
    write_experiment(root, "9", "old", stage="deleted", created=5)


def make_run_queries(runs: list[Run]) -> list[RunQuery]:
    ids = ", ".join(f"'{run.run_id}'" for run in runs[:20])
    named = {"RUN_IDS": f"run_id IN ({ids})", "NOT RUN_IDS": f"run_id NOT IN ({ids})"}
    both = ("0", "7")
    queries = [RunQuery(experiment_ids=both, filter=named.get(each, each)) for each in FILTERS]
    queries += [RunQuery(experiment_ids=("0",), filter=queries[3].filter, order_by=tuple(each)) for each in ORDERS]
    queries += [RunQuery(experiment_ids=both, order_by=tuple(each), view=ViewType.ALL) for each in ORDERS]
    return [*queries, RunQuery(experiment_ids=(*both, "nowhere"), view=ViewType.DELETED_ONLY)]


def make_experiment_queries() -> list[ExperimentQuery]:
    queries = [ExperimentQuery(filter=each, view=view) for each in EXPERIMENT_FILTERS for view in ViewType]
    return queries + [ExperimentQuery(order_by=tuple(each), view=ViewType.ALL) for each in EXPERIMENT_ORDERS]


def ask_mlflow(
    mlflow: TestEnvironment, root: Path, queries: list[RunQuery | ExperimentQuery]
) -> tuple[list[dict[str, object]], str]:
    done = subprocess.run(
        [mlflow.python, Path(__file__).with_name("ask_mlflow.py"), root], capture_output=True, check=True, text=True,
        input=json.dumps([asdict(query) for query in queries]), env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def answer(store: FileStore, query: RunQuery | ExperimentQuery) -> dict[str, object]:
    try:
        if isinstance(query, ExperimentQuery):
            return {"ids": [each.experiment_id for each in store.search_experiments(query)]}
        return {"ids": [run.run_id for run in store.search_runs(query)]}
    except TrackingError as error:
        return {"error": error.message}


def agree(ours: dict[str, object], theirs: dict[str, object]) -> bool:
    """Tell whether two answers are one, whatever words they refuse with."""
    return ours == theirs or ("error" in ours and "error" in theirs)


def test_mlflow_finds_the_same_in_the_same_order_and_minds_no_index(mlflow: TestEnvironment, tmp_path: Path) -> None:
    runs = make_runs()
    make_experiments(tmp_path)
    for run in runs:
        write_run(tmp_path, run)
    queries = [*make_run_queries(runs), *make_experiment_queries()]
    store = FileStore(tmp_path)
    from_files = [answer(store, query) for query in queries]
    time.sleep(2.1)
    from_index = [answer(store, query) for query in queries]
    assert (tmp_path / INDEX_FILE).is_file()
    theirs, warnings = ask_mlflow(mlflow, tmp_path, queries)
    assert from_files == from_index
    assert [each for each in zip(queries, from_files, theirs, strict=True) if not agree(*each[1:])] == []
    assert sum(bool(answer.get("ids")) for answer in theirs) > 100
    assert sum("error" in answer for answer in theirs) > 20
    assert ".repro-index" not in warnings
