"""Logged models and the registry, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from api_client import API, PROXY, Api

from repro.tracking.file_store import FileStore


def log_model(api: Api, name: str = "model", **fields: Any) -> Any:
    """Make a logged model and return its `info`."""
    return api.post("logged-models", experiment_id="0", name=name, **fields)["model"]["info"]


def find(api: Api, **fields: Any) -> list[str]:
    """Return the names of the logged models that a search finds."""
    models = api.post("logged-models/search", experiment_ids=["0"], **fields)["models"]
    return [each["info"]["name"] for each in models]


def test_a_model_is_made_filled_and_finalized(api: Api) -> None:
    run_id = api.create_run()
    info = log_model(api, source_run_id=run_id, params=[{"key": "p", "value": "1"}], tags=[{"key": "t", "value": "2"}])
    model_id = info["model_id"]
    assert info["status"] == "LOGGED_MODEL_PENDING"
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/models/{model_id}/artifacts"
    assert api.put(f"0/models/{model_id}/artifacts/MLmodel", b"flavors: {}").status == 200
    assert api.fetch(f"0/models/{model_id}/artifacts/MLmodel").body == b"flavors: {}"
    listed = api.get(f"logged-models/{model_id}/artifacts/directories")
    assert [each["path"] for each in listed["files"]] == ["MLmodel"]
    assert api.ask("GET", f"{PROXY}?path=0/models/{model_id}/artifacts").json["files"][0]["path"] == "MLmodel"
    made = api.change("PATCH", f"logged-models/{model_id}", status="LOGGED_MODEL_READY")["model"]
    assert made["info"]["status"] == "LOGGED_MODEL_READY"
    assert made["data"]["params"] == [{"key": "p", "value": "1"}]
    assert made["info"]["tags"] == [{"key": "t", "value": "2"}]


def test_a_models_values_are_changed(api: Api) -> None:
    model_id = log_model(api)["model_id"]
    api.change(
        "PATCH", f"logged-models/{model_id}/tags", tags=[{"key": "a/b", "value": "1"}, {"key": "c", "value": "2"}]
    )
    api.change("DELETE", f"logged-models/{model_id}/tags/a%2Fb")
    api.post(f"logged-models/{model_id}/params", params=[{"key": "p", "value": "3"}])
    model = api.get(f"logged-models/{model_id}")["model"]
    assert model["info"]["tags"] == [{"key": "c", "value": "2"}]
    assert model["data"]["params"] == [{"key": "p", "value": "3"}]
    answer = api.ask("DELETE", f"{API}/logged-models/{model_id}/tags/gone")
    assert answer.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_what_is_measured_on_a_model_is_kept_with_it_and_once_with_the_run(api: Api) -> None:
    run_id = api.create_run()
    model_id = log_model(api, source_run_id=run_id)["model_id"]
    point = {"key": "acc", "value": 0.5, "timestamp": 1, "step": 0}
    api.post("runs/log-metric", run_id=run_id, **point)
    api.post("runs/log-batch", run_id=run_id, metrics=[{**point, "model_id": model_id}])
    later = {"key": "acc", "value": 0.9, "timestamp": 2, "step": 1, "model_id": model_id}
    api.post("runs/log-metric", run_id=run_id, **later, dataset_name="wine", dataset_digest="abc")
    history = api.get("metrics/get-history", run_id=run_id, metric_key="acc")["metrics"]
    assert [each["value"] for each in history] == [0.5, 0.9]
    metrics = api.get(f"logged-models/{model_id}")["model"]["data"]["metrics"]
    assert [(each["value"], each.get("dataset_name")) for each in metrics] == [(0.5, None), (0.9, "wine")]
    assert {each["run_id"] for each in metrics} == {run_id}


def test_models_are_searched(api: Api) -> None:
    run_id = api.create_run()
    for name, value in (("a", 0.1), ("b", 0.3), ("c", 0.2)):
        made = log_model(api, name, source_run_id=run_id, tags=[{"key": "n", "value": name}])
        fields = {"key": "acc", "value": value, "timestamp": 1, "model_id": made["model_id"]}
        api.post("runs/log-metric", run_id=run_id, **fields, dataset_name=f"d{name}", dataset_digest="1")
    log_model(api, "unmeasured")
    assert find(api, filter="metrics.acc > 0.15", order_by=[{"field_name": "metrics.acc"}]) == ["c", "b"]
    assert find(api, order_by=[{"field_name": "metrics.acc", "ascending": False}])[:3] == ["b", "c", "a"]
    assert find(api, filter="name = 'a' AND tags.n = 'a'") == ["a"]
    assert find(api, filter="metrics.acc > 0", datasets=[{"dataset_name": "da"}]) == ["a"]
    assert find(api, filter=f"source_run_id = '{run_id}' AND name LIKE '%'", max_results=2) != []
    assert find(api, filter="status = 'READY'") == []
    page = api.post("logged-models/search", experiment_ids=["0"], max_results=3)
    rest = api.post("logged-models/search", experiment_ids=["0"], max_results=3, page_token=page["next_page_token"])
    assert len(page["models"]) + len(rest["models"]) == 4
    assert api.refuse("logged-models/search", experiment_ids=["0"], filter="nonsense") == "INVALID_PARAMETER_VALUE"
    assert api.post("logged-models/search", experiment_ids=["..", "no", "../0"])["models"] == []


def test_a_deleted_model_is_not_there(api: Api) -> None:
    model_id = log_model(api)["model_id"]
    api.change("DELETE", f"logged-models/{model_id}")
    answer = api.ask("GET", f"{API}/logged-models/{model_id}")
    assert (answer.status, answer.error_code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert find(api) == []


@pytest.mark.parametrize("model_id", ["m-nothing", "..", "%2e%2e", "*", "m-*", "a%2Fb"])
def test_no_other_file_is_a_model(api: Api, model_id: str) -> None:
    log_model(api)
    answer = api.ask("GET", f"{API}/logged-models/{model_id}")
    assert (answer.status, answer.error_code) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "100%", "it's", ""])
def test_a_name_that_mlflow_refuses_is_refused(api: Api, name: str) -> None:
    assert api.refuse("logged-models", experiment_id="0", name=name) == "INVALID_PARAMETER_VALUE"


def register(api: Api, name: str = "wine") -> tuple[str, str]:
    """Register a run's model and return the run and what its source is."""
    run_id = api.create_run()
    api.put(f"0/{run_id}/artifacts/model/MLmodel", b"flavors: {}")
    source = f"mlflow-artifacts:/0/{run_id}/artifacts/model"
    api.post("model-versions/create", name=name, source=source, run_id=run_id)
    return run_id, source


def test_a_version_keeps_where_its_files_are_for_both_readers(api: Api, store: FileStore) -> None:
    api.post("registered-models/create", name="wine")
    run_id, source = register(api)
    version = api.get("model-versions/get", name="wine", version=1)["model_version"]
    assert (version["source"], version["run_id"], version["version"]) == (source, run_id, "1")
    assert api.get("model-versions/get-download-uri", name="wine", version="1") == {"artifact_uri": source}
    meta = (store.root / "models" / "wine" / "version-1" / "meta.yaml").read_text()
    assert f"storage_location: {store.find_run_dir(run_id).as_uri()}/artifacts/model\n" in meta


def test_versions_come_from_models_other_versions_and_runs(api: Api) -> None:
    api.post("registered-models/create", name="wine")
    run_id, source = register(api)
    model = log_model(api, source_run_id=run_id)
    for given, expected in (
        (f"models:/{model['model_id']}", model["artifact_uri"]),
        ("models:/wine/1", source),
        (f"runs:/{run_id}/model", source),
        ("s3://bucket/model", "s3://bucket/model"),
    ):
        made = api.post("model-versions/create", name="wine", source=given)["model_version"]
        uri = api.get("model-versions/get-download-uri", name="wine", version=made["version"])["artifact_uri"]
        assert (made["source"], uri) == (given, expected)
    linked = api.post(
        "model-versions/create", name="wine", source=f"models:/{model['model_id']}", model_id=model["model_id"]
    )["model_version"]
    assert linked["run_id"] == run_id
    tags = api.get(f"logged-models/{model['model_id']}")["model"]["info"]["tags"]
    assert tags == [{"key": "mlflow.modelVersions", "value": '[{"name": "wine", "version": 6}]'}]


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc",
        "mlflow-artifacts:/../x",
        "mlflow-artifacts:/0/x",
        "models:/no/x",
        "runs:/x",
        "../a",
        "",
    ],
)
def test_a_source_that_only_the_server_could_read_is_refused(api: Api, source: str) -> None:
    api.post("registered-models/create", name="wine")
    assert api.refuse("model-versions/create", name="wine", source=source) == "INVALID_PARAMETER_VALUE"


def test_stages_aliases_tags_and_descriptions(api: Api) -> None:
    api.post("registered-models/create", name="wine", description="d", tags=[{"key": "a", "value": "b"}])
    for _ in range(3):
        register(api)
    api.post("model-versions/transition-stage", name="wine", version="1", stage="production")
    fields = {"name": "wine", "version": "2", "stage": "Production", "archive_existing_versions": True}
    assert api.post("model-versions/transition-stage", **fields)["model_version"]["current_stage"] == "Production"
    latest = api.post("registered-models/get-latest-versions", name="wine")["model_versions"]
    assert {each["current_stage"]: each["version"] for each in latest} == {
        "None": "3",
        "Production": "2",
        "Archived": "1",
    }
    only = api.get("registered-models/get-latest-versions", name="wine", stages=["Production"])["model_versions"]
    assert [each["version"] for each in only] == ["2"]
    api.post("registered-models/alias", name="wine", alias="champion", version="2")
    found = api.get("registered-models/alias", name="wine", alias="champion")["model_version"]
    assert (found["version"], found["aliases"]) == ("2", ["champion"])
    assert api.get("registered-models/alias", name="wine", alias="latest")["model_version"]["version"] == "3"
    api.post("model-versions/set-tag", name="wine", version="2", key="t", value="v")
    api.post("model-versions/set-tag", name="wine", version="2", key="u", value="v")
    api.change("DELETE", "model-versions/delete-tag", name="wine", version="2", key="u")
    api.change("PATCH", "model-versions/update", name="wine", version="2", description="second")
    version = api.get("model-versions/get", name="wine", version="2")["model_version"]
    assert (version["tags"], version["description"]) == ([{"key": "t", "value": "v"}], "second")
    api.post("registered-models/set-tag", name="wine", key="c", value="d")
    api.change("DELETE", "registered-models/delete-tag", name="wine", key="a")
    api.change("PATCH", "registered-models/update", name="wine", description="new")
    model = api.get("registered-models/get", name="wine")["registered_model"]
    assert (model["tags"], model["description"]) == ([{"key": "c", "value": "d"}], "new")
    assert model["aliases"] == [{"alias": "champion", "version": "2"}]
    api.change("DELETE", "registered-models/alias", name="wine", alias="champion")
    answer = api.ask("GET", f"{API}/registered-models/alias?name=wine&alias=champion")
    assert (answer.status, answer.error_code) == (400, "INVALID_PARAMETER_VALUE")


def test_deleted_versions_keep_their_numbers(api: Api) -> None:
    api.post("registered-models/create", name="wine")
    register(api)
    register(api)
    api.post("registered-models/alias", name="wine", alias="a", version="2")
    api.change("DELETE", "model-versions/delete", name="wine", version="2")
    assert api.ask("GET", f"{API}/model-versions/get?name=wine&version=2").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert api.get("registered-models/get", name="wine")["registered_model"].get("aliases", []) == []
    register(api)
    found = api.get("model-versions/search", filter="name='wine'")["model_versions"]
    assert [each["version"] for each in found] == ["3", "1"]


def test_names_are_renamed_and_removed(api: Api) -> None:
    for name in ("wine", "taken"):
        api.post("registered-models/create", name=name)
    register(api)
    assert api.refuse("registered-models/create", name="wine") == "RESOURCE_ALREADY_EXISTS"
    assert api.refuse("registered-models/rename", name="wine", new_name="taken") == "RESOURCE_ALREADY_EXISTS"
    api.post("registered-models/rename", name="wine", new_name="beer")
    assert api.get("model-versions/get", name="beer", version="1")["model_version"]["name"] == "beer"
    api.change("DELETE", "registered-models/delete", name="beer")
    listed = api.get("registered-models/search")["registered_models"]
    assert [each["name"] for each in listed] == ["taken"]
    assert api.ask("GET", f"{API}/registered-models/get?name=beer").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_registered_models_and_versions_are_searched(api: Api) -> None:
    for name in ("a-wine", "b-wine", "beer"):
        api.post("registered-models/create", name=name, tags=[{"key": "n", "value": name}])
        register(api, name)
    api.post("registered-models/create", name="prompt", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])

    def names(**query: Any) -> list[str]:
        return [each["name"] for each in api.get("registered-models/search", **query)["registered_models"]]

    assert names() == ["a-wine", "b-wine", "beer"]
    assert names(filter="name LIKE '%wine'", order_by=["name DESC"]) == ["b-wine", "a-wine"]
    assert names(filter="tags.n = 'beer'") == ["beer"]
    assert names(filter="tags.`mlflow.prompt.is_prompt` = 'true'") == ["prompt"]
    page = api.get("registered-models/search", max_results=2)
    assert [each["name"] for each in page["registered_models"]] == ["a-wine", "b-wine"]
    assert names(max_results=2, page_token=page["next_page_token"]) == ["beer"]
    found = api.get("model-versions/search", filter="name IN ('beer', 'a-wine')", order_by=["name ASC"])
    assert [each["name"] for each in found["model_versions"]] == ["a-wine", "beer"]
    assert api.ask("GET", f"{API}/registered-models/search?filter=stage%3D1").error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a:b", "..", ".", "a%2e", "a\\b", "a\x00b", "x" * 256])
def test_a_name_that_could_leave_the_registry_is_refused(api: Api, name: str) -> None:
    assert api.refuse("registered-models/create", name=name) == "INVALID_PARAMETER_VALUE"
    assert api.refuse("registered-models/alias", name=name, alias="a", version="1") == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "v1", "V22", "a/b", "..", "a b", "x" * 256])
def test_an_alias_that_mlflow_refuses_is_refused(api: Api, alias: str) -> None:
    api.post("registered-models/create", name="wine")
    register(api)
    assert api.refuse("registered-models/alias", name="wine", alias=alias, version="1") == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("version", ["x", "0", "-1", "1.5", "../1", "", None])
def test_what_is_no_version_is_refused(api: Api, version: str | None) -> None:
    api.post("registered-models/create", name="wine")
    fields = {"name": "wine", "version": version, "stage": "Staging"}
    assert api.refuse("model-versions/transition-stage", **fields) == "INVALID_PARAMETER_VALUE"


def test_a_stage_that_there_is_not_is_refused(api: Api) -> None:
    api.post("registered-models/create", name="wine")
    register(api)
    for stage, archive in (("Best", False), ("None", True)):
        fields = {"name": "wine", "version": "1", "stage": stage, "archive_existing_versions": archive}
        assert api.refuse("model-versions/transition-stage", **fields) == "INVALID_PARAMETER_VALUE"
