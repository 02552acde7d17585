"""Experiments, runs and what they log, over HTTP."""

from __future__ import annotations

import json
import math

import pytest
from api_client import API, Api

from repro.tracking.file_store import FileStore


def point(key: str, value: object, step: int = 0) -> dict[str, object]:
    return {"key": key, "value": value, "timestamp": 1000 + step, "step": step}


def test_an_experiment_is_made_found_changed_deleted_and_restored(api: Api) -> None:
    made = api.post("experiments/create", name="wine", tags=[{"key": "team", "value": "x"}])["experiment_id"]
    api.post("experiments/set-experiment-tag", experiment_id=made, key="more", value="y")
    api.post("experiments/delete-experiment-tag", experiment_id=made, key="team")
    api.post("experiments/update", experiment_id=made, new_name="beer")
    found = api.get("experiments/get-by-name", experiment_name="beer")["experiment"]
    assert (found["experiment_id"], found["tags"]) == (made, [{"key": "more", "value": "y"}])
    api.post("experiments/delete", experiment_id=made)
    assert api.get("experiments/get", experiment_id=made)["experiment"]["lifecycle_stage"] == "deleted"
    for view, names in (("ACTIVE_ONLY", ["Default"]), (2, ["beer"]), ("ALL", ["Default", "beer"])):
        listed = api.post("experiments/search", view_type=view, max_results=10)["experiments"]
        assert sorted(each["name"] for each in listed) == names
    api.post("experiments/restore", experiment_id=made)
    assert api.get("experiments/get", experiment_id=made)["experiment"]["lifecycle_stage"] == "active"


def test_clients_of_mlflow_1_list_with_other_words(api: Api) -> None:
    api.create_run()
    listed = api.get("experiments/list", view_type="ALL", max_results=5)["experiments"]
    assert [each["name"] for each in listed] == ["Default"]
    assert api.get("registered-models/list", max_results=5) == {"registered_models": []}


def test_the_oldest_clients_say_run_uuid(api: Api) -> None:
    run_id = api.create_run()
    api.post("runs/log-parameter", run_uuid=run_id, key="a", value="b")
    assert api.get("runs/get", run_uuid=run_id)["run"]["data"]["params"] == [{"key": "a", "value": "b"}]


def test_a_run_is_updated_by_word_and_by_number(api: Api) -> None:
    run_id = api.create_run(run_name="first", user_id="me", start_time=5)
    info = api.post("runs/update", run_id=run_id, status="FAILED", end_time="77", run_name="second")["run_info"]
    assert (info["status"], info["end_time"], info["run_name"], info["start_time"]) == ("FAILED", 77, "second", 5)
    assert api.post("runs/update", run_id=run_id, status=3)["run_info"]["status"] == "FINISHED"
    assert api.refuse("runs/update", run_id=run_id, status="DONE") == "INVALID_PARAMETER_VALUE"


def test_a_deleted_run_takes_nothing_until_it_is_restored(api: Api) -> None:
    run_id = api.create_run()
    api.post("runs/delete", run_id=run_id)
    assert api.refuse("runs/set-tag", run_id=run_id, key="a", value="b") == "INVALID_PARAMETER_VALUE"
    assert api.refuse("runs/outputs", run_id=run_id, models=[{"model_id": "m-1"}]) == "INVALID_PARAMETER_VALUE"
    assert api.refuse("runs/log-inputs", run_id=run_id, models=[{"model_id": "m-1"}]) == "INVALID_PARAMETER_VALUE"
    api.post("runs/restore", run_id=run_id)
    api.post("runs/set-tag", run_id=run_id, key="a", value="b")


def test_numbers_that_json_has_no_word_for_come_back(api: Api) -> None:
    run_id = api.create_run()
    for key, value in (
        ("nan", "NaN"),
        ("inf", "Infinity"),
        ("minus", "-Infinity"),
        ("bare", math.nan),
        ("text", "0.5"),
    ):
        api.post("runs/log-metric", run_id=run_id, **point(key, value))
    metrics = {each["key"]: each["value"] for each in api.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]}
    assert metrics == {"nan": "NaN", "inf": "Infinity", "minus": "-Infinity", "bare": "NaN", "text": 0.5}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("runs/log-metric", {"key": "m", "value": None, "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": "much", "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": True, "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": 1}),
        ("runs/log-metric", {"key": "../m", "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": "m" * 251, "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": 5, "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1.5}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 2**63}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1, "step": -(2**63) - 1}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": "9" * 5000}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": "1e3000"}),
        ("runs/log-parameter", {"key": "", "value": "x"}),
        ("runs/log-parameter", {"key": "a/../b", "value": "x"}),
        ("runs/log-parameter", {"key": "a", "value": {"b": 1}}),
        ("runs/set-tag", {"key": "/etc/passwd", "value": "x"}),
        ("runs/set-tag", {"key": "a\x00b", "value": "x"}),
        ("runs/log-batch", {"metrics": {}}),
        ("runs/log-batch", {"metrics": [1]}),
        ("runs/log-batch", {"params": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}),
        ("runs/log-model", {"model_json": "{"}),
        ("runs/log-model", {"model_json": "{}"}),
        ("runs/log-inputs", {"datasets": [{}]}),
        ("runs/outputs", {"models": [{"model_id": "../x"}]}),
    ],
)
def test_what_cannot_be_logged_is_refused_with_mlflows_code(api: Api, path: str, fields: dict[str, object]) -> None:
    run_id = api.create_run()
    assert api.refuse(path, run_id=run_id, **fields) == "INVALID_PARAMETER_VALUE"
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    assert not data["metrics"]
    assert not data["params"]
    assert len(data["tags"]) == 1


@pytest.mark.parametrize("run_id", ["", "nothing", "../0", "0" * 32])
def test_a_run_that_is_not_there_is_said_so(api: Api, run_id: str) -> None:
    expected = "RESOURCE_DOES_NOT_EXIST" if run_id else "INVALID_PARAMETER_VALUE"
    assert api.refuse("runs/set-tag", run_id=run_id, key="a", value="b") == expected


@pytest.mark.parametrize(("kind", "most"), [("metrics", 1000), ("params", 100), ("tags", 100)])
def test_a_batch_has_mlflows_limits(api: Api, kind: str, most: int) -> None:
    run_id = api.create_run()
    entries = [
        {"key": f"k{number}", "value": 1 if kind == "metrics" else "1", "timestamp": 1} for number in range(most + 1)
    ]
    assert api.refuse("runs/log-batch", run_id=run_id, **{kind: entries}) == "INVALID_PARAMETER_VALUE"
    api.post("runs/log-batch", run_id=run_id, **{kind: entries[:-1]})


def test_a_batch_has_a_thousand_values_at_most(api: Api) -> None:
    run_id = api.create_run()
    metrics = [point(f"k{number}", 1) for number in range(1000)]
    fields = {"run_id": run_id, "metrics": metrics, "tags": [{"key": "a", "value": "b"}]}
    assert api.refuse("runs/log-batch", **fields) == "INVALID_PARAMETER_VALUE"


def test_long_values_are_cut_as_mlflow_does(api: Api) -> None:
    run_id = api.create_run()
    api.post("runs/log-parameter", run_id=run_id, key="p", value="x" * 6001)
    api.post("runs/set-tag", run_id=run_id, key="t", value="y" * 8001)
    data = api.get("runs/get", run_id=run_id)["run"]["data"]
    assert data["params"] == [{"key": "p", "value": "x" * 6000}]
    assert {"key": "t", "value": "y" * 8000} in data["tags"]


def test_a_history_comes_whole_and_in_pages(api: Api) -> None:
    run_id = api.create_run()
    api.post("runs/log-batch", run_id=run_id, metrics=[point("loss", step, step) for step in range(10)])
    query = {"run_id": run_id, "metric_key": "loss"}
    assert [each["step"] for each in api.get("metrics/get-history", **query)["metrics"]] == list(range(10))
    steps: list[int] = []
    token = ""
    while token is not None:
        page = api.get("metrics/get-history", **query, max_results=4, page_token=token)
        steps += [each["step"] for each in page["metrics"]]
        token = page.get("next_page_token")
    assert steps == list(range(10))
    assert api.get("metrics/get-history", run_id=run_id, metric_key="nothing") == {"metrics": []}
    for query_text in ("max_results=0", "max_results=-1", "max_results=x", "page_token=eA==", "page_token=%00"):
        answer = api.ask("GET", f"{API}/metrics/get-history?run_id={run_id}&metric_key=loss&{query_text}")
        assert (answer.status, answer.error_code) == (400, "INVALID_PARAMETER_VALUE")


def test_histories_of_many_runs_come_at_once(api: Api) -> None:
    run_ids = [api.create_run() for _ in range(2)]
    for run_id in run_ids:
        api.post("runs/log-batch", run_id=run_id, metrics=[point("loss", step, step) for step in range(3)])
    found = api.get("metrics/get-history-bulk", run_id=run_ids, metric_key="loss", max_results=4)["metrics"]
    assert [(each["run_id"], each["step"]) for each in found] == [
        (run_id, step) for run_id in sorted(run_ids) for step in range(3)
    ][:4]


def test_models_of_clients_before_mlflow_3_are_noted_in_a_tag(api: Api) -> None:
    run_id = api.create_run()
    model = {
        "run_id": run_id, "artifact_path": "model", "utc_time_created": "2026-01-01", "model_uuid": "x",
        "signature": "no",
        "flavors": {"sklearn": {"pickled_model": "model.pkl", "config": {"a": 1}}},
    }  # fmt: skip
    for _ in range(2):
        api.post("runs/log-model", run_id=run_id, model_json=json.dumps(model))
    tags = {each["key"]: each["value"] for each in api.get("runs/get", run_id=run_id)["run"]["data"]["tags"]}
    history = json.loads(tags["mlflow.log-model.history"])
    del model["signature"], model["flavors"]["sklearn"]["config"]  # type: ignore[attr-defined]
    assert history == [model, model]


def test_inputs_and_outputs_come_back(api: Api) -> None:
    run_id = api.create_run()
    dataset = {"name": "wine", "digest": "abc", "source_type": "local", "source": "{}", "schema": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    for _ in range(2):
        api.post(
            "runs/log-inputs",
            run_id=run_id,
            datasets=[{"tags": tags, "dataset": dataset}],
            models=[{"model_id": "m-1"}],
        )
        api.post("runs/outputs", run_id=run_id, models=[{"model_id": "m-2", "step": 3}])
    run = api.get("runs/get", run_id=run_id)["run"]
    assert run["inputs"] == {
        "dataset_inputs": [{"tags": tags, "dataset": dataset}], "model_inputs": [{"model_id": "m-1"}],
    }  # fmt: skip
    assert run["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 3}]}


def test_the_server_says_that_files_are_sent_whole(api: Api) -> None:
    about = api.ask("GET", "/api/3.0/mlflow/server-info").json
    assert about["multipart_uploads_enabled"] is False
    assert about["store_type"] == "FileStore"


def test_what_clients_log_is_in_the_store(api: Api, store: FileStore) -> None:
    run_id = api.create_run(tags=[{"key": "mlflow.runName", "value": "named"}])
    api.post("runs/log-batch", run_id=run_id, metrics=[point("m", 1)], params=[{"key": "a", "value": "b"}])
    run = store.get_run(run_id)
    assert (run.info.run_name, run.data.metrics, dict(run.data.params)) == ("named", {"m": 1.0}, {"a": "b"})
