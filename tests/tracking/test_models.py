"""Registered and logged models: one suite for a directory, our own server over one, and a real MLflow server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from api_client import Api
from mlflow_server import MlflowServer

import repro
from repro.errors import TrackingError, TrackingExistsError, TrackingNotFoundError, UsageError
from repro.tracking.client import Client
from repro.tracking.file_store import FileStore
from repro.tracking.model_store import HeldFiles
from repro.tracking.server import serve_in_background

REAL_SERVER = [
    pytest.mark.mlflow,
    pytest.mark.xdist_group("mlflow_server"),
    pytest.mark.skipif("REPRO_TEST_ALL" not in os.environ, reason="asks a server of MLflow; scripts/test-all"),
]
MLMODEL = b"flavors: {}\n"


@dataclass(frozen=True)
class Place:
    """A store, and how a model gets into it; `name` is one that is not registered yet."""

    uri: str
    api: Api | None
    name: str

    def log_run_model(self, path: str = "model") -> tuple[str, str]:
        """Return a new run that has an artifact `path` with an MLmodel, and the artifact's own URI."""
        client = Client(self.uri)
        run = client.create_run()
        client.log_text(run.run_id, MLMODEL.decode(), f"{path}/MLmodel")
        client.flush()
        return run.run_id, f"{run.info.artifact_uri}/{path}"

    def log_model(self, run_id: str, name: str, step: int = 0) -> str:
        """Return the id of a new logged model of a run."""
        assert self.api is not None
        made = self.api.post("logged-models", experiment_id="0", name=name, source_run_id=run_id)["model"]["info"]
        model_id = str(made["model_id"])
        self.api.put(f"{made['artifact_uri'].removeprefix('mlflow-artifacts:/')}/MLmodel", MLMODEL)
        self.api.change("PATCH", f"logged-models/{model_id}", model_id=model_id, status="LOGGED_MODEL_READY")
        self.api.post("runs/outputs", run_id=run_id, models=[{"model_id": model_id, "step": step}])
        return model_id


def open_place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("REPRO_OUTBOX", str(tmp_path / "outbox"))
    name = f"wine-{uuid.uuid4().hex[:8]}"
    if kind == "rest":
        server: MlflowServer = request.getfixturevalue("mlflow_server")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield Place(server.url, Api(server.url), name)
        return
    root = tmp_path / "my runs"
    endpoint = serve_in_background(FileStore(root), token=None)
    uri = endpoint.uri if kind == "served" else str(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield Place(uri, Api(endpoint.uri), name)
    endpoint.close()


@pytest.fixture(params=["file", "served", pytest.param("rest", marks=REAL_SERVER)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield from open_place(request.param, request, tmp_path)


@pytest.fixture(params=["file", "served"])
def own_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield from open_place(request.param, request, tmp_path)


def read_mlmodel(uri: str, target: Path) -> bytes:
    """Bring a model and return its MLmodel."""
    return Path(repro.download_artifacts(uri, dst_path=target), "MLmodel").read_bytes()


def test_names_versions_and_aliases_are_made_and_found(place: Place) -> None:
    client = Client(place.uri)
    run_id, source = place.log_run_model()
    made = client.create_registered_model(place.name, tags={"team": "red"}, description="of the cellar")
    assert (made.name, made.description) == (place.name, "of the cellar")
    with pytest.raises(TrackingExistsError):
        client.create_registered_model(place.name)
    for number in (1, 2):
        version = client.create_model_version(place.name, source, run_id=run_id, tags={"n": number})
        assert (version.name, version.version, version.run_id) == (place.name, number, run_id)
    client.set_registered_model_alias(place.name, "champion", 1)
    assert client.get_model_version_by_alias(place.name, "champion").version == 1
    assert client.get_model_version(place.name, "2").tags == {"n": "2"}
    assert client.get_registered_model(place.name).aliases == {"champion": 1}
    assert [each.version for each in client.get_latest_versions(place.name)] == [2]
    found = client.search_registered_models(f"name = '{place.name}'")
    assert [(each.name, dict(each.tags)) for each in found] == [(place.name, {"team": "red"})]
    versions = client.search_model_versions(f"name = '{place.name}'", order_by=["version_number ASC"], max_results=1)
    rest = client.search_model_versions(
        f"name = '{place.name}'", order_by=["version_number ASC"], max_results=1, page_token=versions.token
    )
    assert [each.version for each in (*versions, *rest)] == [1, 2]
    client.delete_registered_model_alias(place.name, "champion")
    with pytest.raises(TrackingError):
        client.get_model_version_by_alias(place.name, "champion")


def test_each_kind_of_uri_leads_to_the_files(own_place: Place, tmp_path: Path) -> None:
    run_id, source = own_place.log_run_model()
    version = repro.register_model(f"runs:/{run_id}/model", own_place.name, tags={"a": "b"})
    assert (version.version, version.run_id, dict(version.tags)) == (1, run_id, {"a": "b"})
    client = Client(own_place.uri)
    client.set_registered_model_alias(own_place.name, "champion", 1)
    uris = [
        f"models:/{own_place.name}/1", f"models:/{own_place.name}/latest", f"models:/{own_place.name}/Latest",
        f"models:/{own_place.name}/none", f"models:/{own_place.name}@champion", f"models:///{own_place.name}/1", source,
        f"runs:/{run_id}/model", f"runs:/{run_id}/model/", client.get_model_version_download_uri(own_place.name, 1),
    ]  # fmt: skip
    for number, uri in enumerate(uris):
        assert read_mlmodel(uri, tmp_path / str(number)) == MLMODEL, uri


def test_a_model_that_a_run_has_logged_is_found_by_its_name_its_id_and_where_it_is_registered(
    place: Place, tmp_path: Path
) -> None:
    run_id = Client(place.uri).create_run().run_id
    place.log_model(run_id, "model", step=5)
    newest = place.log_model(run_id, "model", step=5)
    place.log_model(run_id, "model", step=1)
    place.log_model(run_id, "other", step=9)
    version = repro.register_model(f"runs:/{run_id}/model", place.name)
    assert (version.source, version.model_id, version.run_id) == (f"models:/{newest}", newest, run_id)
    assert repro.register_model(f"models:/{newest}", place.name).version == 2
    assert repro.register_model(f"models:/{place.name}/latest", place.name).source == f"models:/{place.name}/2"
    model = Client(place.uri).get_logged_model(newest)
    assert (model.name, model.source_run_id) == ("model", run_id)
    for number, uri in enumerate(
        [
            f"models:/{newest}",
            f"runs:/{run_id}/model",
            f"mlflow-artifacts:/0/models/{newest}/artifacts",
            *(f"models:/{place.name}/{each}" for each in (1, 2, 3)),
        ]
    ):
        assert read_mlmodel(uri, tmp_path / str(number)) == MLMODEL, uri


def test_an_artifact_of_a_run_goes_before_a_logged_model_of_the_same_name(own_place: Place, tmp_path: Path) -> None:
    run_id, _ = own_place.log_run_model()
    model_id = own_place.log_model(run_id, "model")
    Client(own_place.uri).log_text(run_id, "here", "model/only-here")
    assert Path(repro.download_artifacts(f"runs:/{run_id}/model", dst_path=tmp_path / "a"), "only-here").is_file()
    assert not Path(repro.download_artifacts(f"models:/{model_id}", dst_path=tmp_path / "b"), "only-here").exists()


def refuse(uri: str) -> TrackingError:
    """Return the error of a URI that leads nowhere."""
    with pytest.raises(TrackingNotFoundError) as caught:
        repro.download_artifacts(uri)
    return caught.value


def test_what_is_missing_is_said_with_what_is_there(place: Place) -> None:
    run_id, _ = place.log_run_model()
    for _ in range(2):
        repro.register_model(f"runs:/{run_id}/model", place.name)
    client = Client(place.uri)
    client.set_registered_model_alias(place.name, "champion", 1)
    where = client.tracking_uri
    there = "it has the versions `2`, `1`, and the aliases `champion` (version 1)"
    error = refuse(f"models:/{place.name}/9")
    assert (error.message, error.hint) == (f"`{place.name}` has no version 9 in `{where}`", there)
    error = refuse(f"models:/{place.name}@challenger")
    assert (error.message, error.hint) == (f"`{place.name}` has no alias `challenger` in `{where}`", there)
    error = refuse(f"models:/{place.name}/Production")
    assert (error.message, error.hint) == (
        f"`{place.name}` has no version in the stage `Production` in `{where}`",
        there,
    )
    assert f"(an alias is `models:/{place.name}@champion`)" in refuse(f"models:/{place.name}/champion").message
    error = refuse("models:/beer/1")
    assert error.message == f"there is no registered model `beer` in `{where}`"
    assert "registered are" in str(error.hint)
    error = refuse(f"models:/m-{'0' * 32}")
    assert error.message == f"there is no logged model `m-{'0' * 32}` in `{where}`"
    assert (
        refuse(f"models:/{place.name}").hint
        == f"a registered model is named with its version: `models:/{place.name}/1`"
    )
    place.log_model(run_id, "boosted")
    error = refuse(f"runs:/{run_id}/nothing")
    assert error.message == f"the run `{run_id}` has neither an artifact nor a logged model `nothing`"
    assert error.hint == "it has logged the models `boosted`"
    assert refuse(f"runs:/{'0' * 32}/model").message == f"there is no run `{'0' * 32}` in `{where}`"


@pytest.mark.parametrize("uri", ["models:/", "models://host/wine/1", "models:/a/b/c", "models:/@x", "models:/a@"])
def test_a_uri_that_names_no_model_is_refused(uri: str, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    with pytest.raises(UsageError, match="names no model"):
        repro.download_artifacts(uri)


def test_a_registry_that_leads_in_a_circle_is_left(store: FileStore) -> None:
    client = Client(store=store)
    client.create_registered_model("wine")
    (store.root / "a").mkdir()
    client.create_model_version("wine", str(store.root / "a"))
    path = store.root / "models" / "wine" / "version-1" / "meta.yaml"
    path.write_text(path.read_text().replace((store.root / "a").as_uri(), "models:/wine/1"))
    from repro.tracking.model_source import find_files

    with pytest.raises(TrackingError, match="the registry leads nowhere: `models:/wine/1` -> `models:/wine/1`"):
        find_files(client.models, client.registry, "models:/wine/1")


def test_a_directory_that_was_moved_still_has_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(before))
    run_id, _ = Place(str(before), None, "").log_run_model()
    repro.register_model(f"runs:/{run_id}/model", "wine")
    before.rename(after)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(after))
    assert Path(repro.download_artifacts("models:/wine/1")).is_relative_to(after)


def test_a_path_is_registered_as_it_lies(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    Path("model").mkdir()
    Path("model", "MLmodel").write_bytes(MLMODEL)
    assert repro.register_model("model", "wine").source == Path("model").absolute().as_uri()
    assert repro.download_artifacts("models:/wine/1") == str(Path("model").absolute())
    with pytest.raises(TrackingNotFoundError, match="to register"):
        repro.register_model("nothing", "wine")


def test_the_registry_may_be_elsewhere_than_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "")
    assert repro.get_registry_uri() == (tmp_path / "runs").as_uri()
    repro.set_registry_uri(tmp_path / "names")
    assert repro.get_registry_uri() == (tmp_path / "names").as_uri()
    run_id, _ = Place(str(tmp_path / "runs"), None, "").log_run_model()
    client = Client()
    client.create_registered_model("wine")
    version = repro.register_model(f"runs:/{run_id}/model", "wine")
    assert version.run_id == run_id
    assert (tmp_path / "names" / "models" / "wine" / "version-1").is_dir()
    assert not (tmp_path / "runs" / "models").exists()
    assert Path(repro.download_artifacts("models:/wine/1"), "MLmodel").is_file()
    assert Client(registry_uri=tmp_path / "runs").search_registered_models().items == ()
    repro.set_registry_uri("")
    assert repro.get_registry_uri() == (tmp_path / "runs").as_uri()


def test_files_of_a_directory_are_used_where_they_lie(store: FileStore) -> None:
    client = Client(store=store)
    run = client.create_run()
    client.log_text(run.run_id, "x", "model/MLmodel")
    found = client.models.find_run_files(run.run_id, "model")
    assert found == HeldFiles(path=store.find_run_dir(run.run_id) / "artifacts" / "model")
