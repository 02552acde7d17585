"""Run in MLflow's own interpreter: answer searches of a directory, each with a line of JSON, ids or an error."""

import json
import sys

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.file_store import FileStore


def search_runs(store: FileStore, query: dict) -> list:
    found = store.search_runs(
        query["experiment_ids"], query["filter"], getattr(ViewType, query["view"]),
        max_results=query["max_results"], order_by=query["order_by"],
    )  # fmt: skip
    return [run.info.run_id for run in found]


def search_experiments(store: FileStore, query: dict) -> list:
    found = store.search_experiments(
        view_type=getattr(ViewType, query["view"]), filter_string=query["filter"], order_by=query["order_by"]
    )
    return [experiment.experiment_id for experiment in found]


def main() -> None:
    store = FileStore(sys.argv[1])
    for query in json.load(sys.stdin):
        search = search_runs if "experiment_ids" in query else search_experiments
        try:
            answer = {"ids": search(store, query)}
        except (MlflowException, TypeError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer))


main()
