"""Which directory a URI leads to, what is downloaded for it and when, and what may be loaded here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_client import Api
from rest_server import Asked, Said, answering, say

import repro
from repro.environments.housekeeping.plan import Rules
from repro.environments.housekeeping.prune import clear, prune
from repro.environments.store import Store
from repro.errors import ModelError, ReproError, UsageError
from repro.models.directory import read_directory
from repro.models.resolve import FoundModel, find_model
from repro.models.trust import refuse_code
from repro.tracking.client import Client
from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background

PICKLED = {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}}
SKOPS = {"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}
BOOSTER = {"lightgbm": {"data": "model.lgb"}}
BOOSTED = {"lightgbm": {"data": "model.lgb", "serialization_format": "pickle"}}
XGBOOST = {"xgboost": {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}}


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setenv("MLFLOW_SNAPSHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


@pytest.fixture
def cache(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache" / "repro"))


@pytest.fixture
def uri(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The tracking URI of our own server, which is the one that is asked."""
    endpoint = serve_in_background(store, token=None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", endpoint.uri)
    yield endpoint.uri
    endpoint.close()


def register(flavors: dict[str, object], files: tuple[str, ...] = ()) -> str:
    """Register a run's model and return its URI."""
    client = Client()
    run = client.create_run()
    client.log_text(run.run_id, json.dumps({"flavors": flavors}), "model/MLmodel")
    for name in files:
        client.log_text(run.run_id, f"the bytes of {name}", f"model/{name}")
    client.flush()
    version = repro.register_model(f"runs:/{run.run_id}/model", "wine")
    return f"models:/wine/{version.version}"


def list_files(directory: Path) -> list[str]:
    return sorted(each.relative_to(directory).as_posix() for each in directory.rglob("*") if each.is_file())


def test_a_path_and_a_file_uri_are_themselves(tmp_path: Path) -> None:
    assert find_model(str(tmp_path)) == FoundModel(path=tmp_path, name=str(tmp_path))
    assert find_model(tmp_path.as_uri()) == FoundModel(path=tmp_path, name=tmp_path.as_uri())
    with pytest.raises(UsageError, match="`s3://bucket/model` is no model that can be had"):
        find_model("s3://user:secret@bucket/model")


def test_a_model_in_a_directory_of_runs_is_used_where_it_lies(
    store: FileStore, cache: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    found = find_model(register(PICKLED), store=cache)
    assert found.path.is_relative_to(store.root)
    assert not found.is_foreign
    assert not Path(cache.root).exists()


def test_a_model_of_a_server_is_downloaded_once(uri: str, cache: Store, store: FileStore) -> None:
    name = register(PICKLED, ("model.pkl", "code/a.py"))
    first = find_model(name, store=cache)
    assert first.is_foreign
    assert first.path.is_relative_to(cache.root)
    assert list_files(first.path) == ["MLmodel", "code/a.py", "model.pkl"]
    Path(first.path, "model.pkl").write_text("the bytes of MODEL.PKL")  # as long: it was not downloaded again
    assert find_model(name, store=cache) == first
    assert Path(first.path, "model.pkl").read_text() == "the bytes of MODEL.PKL"
    Path(first.path, "code", "a.py").unlink()
    assert find_model(name, store=cache) == first
    assert list_files(first.path) == ["MLmodel", "code/a.py", "model.pkl"]
    assert os.listdir(cache.room("tmp")) == []


@pytest.mark.parametrize(("name", "content"), [("requirements.txt", "numpy==1.26.0"), ("new.txt", "x")])
def test_a_model_that_was_changed_on_the_server_is_downloaded_again(
    uri: str, cache: Store, name: str, content: str
) -> None:
    client = Client()
    run_id = client.create_run().run_id
    for file, text in {"MLmodel": "flavors: {}", "requirements.txt": "numpy==1.25.0"}.items():
        client.log_text(run_id, text, f"model/{file}")
    before = find_model("model", run_id=run_id, store=cache)
    client.log_text(run_id, content, f"model/{name}")
    client.flush()
    after = find_model("model", run_id=run_id, store=cache)
    assert after.path != before.path
    assert Path(after.path, name).read_text() == content


def test_one_model_is_kept_once_whatever_it_is_called(uri: str, cache: Store) -> None:
    name = register(PICKLED)
    Client().set_registered_model_alias("wine", "best", 1)
    run_id = Client().get_model_version("wine", 1).run_id
    paths = {find_model(each, store=cache).path for each in (name, "models:/wine@best", f"runs:/{run_id}/model")}
    assert len(paths) == 1


def test_where_nothing_can_be_kept_a_model_is_there_as_long_as_the_process(uri: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no directory")
    found = find_model(register(PICKLED), store=Store(str(tmp_path / "cache" / "repro")))
    assert list_files(found.path) == ["MLmodel"]
    assert found.path.name.startswith("repro-model-")


def test_a_model_in_use_stays_and_others_are_cleared(uri: str, cache: Store) -> None:
    used = find_model(register(PICKLED), store=cache)
    other = Path(cache.room("models", "0" * 64))
    other.mkdir()
    os.utime(other, (0, 0))
    assert [each.kind for each in prune(cache, Rules(), dry_run=False, report=print).removals] == ["model"]
    assert not other.exists()
    clear(cache, dry_run=False, report=print)
    assert list_files(used.path) == ["MLmodel"]


def test_a_large_download_is_told(uri: str, cache: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.models.downloaded._LARGE_BYTES", 10)
    said: list[str] = []
    name = register(PICKLED, ("model.pkl",))
    for _ in range(2):
        find_model(name, store=cache, report=said.append)
    assert said == ["downloading `models:/wine/1` (2 files, 0 MB)"]


def test_what_is_no_model_says_what_it_is(uri: str, cache: Store) -> None:
    client = Client()
    run_id = client.create_run().run_id
    client.log_text(run_id, "x", "data/a.csv")
    client.flush()
    with pytest.raises(ModelError, match="is no model: it has no `MLmodel`") as caught:
        find_model(f"runs:/{run_id}/data", store=cache)
    assert caught.value.hint == "it has `a.csv`"
    with pytest.raises(ModelError, match="is no model: it has no `MLmodel`"):
        find_model(f"runs:/{run_id}/data/a.csv", store=cache)
    with pytest.raises(ModelError, match=f"`runs:/{run_id}/no` cannot be had: the run .* has neither"):
        find_model("no", run_id=run_id, store=cache)


SECRET = "hush-hush"


def test_a_server_that_is_away_is_told_from_one_that_has_no_such_model(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="cannot be had: there is no registered model `beer`") as caught:
        find_model("models:/beer/1")
    assert "nothing is registered" in str(caught.value.hint)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{SECRET}@127.0.0.1:1")
    with pytest.raises(ModelError, match=r"`models:/beer/1` cannot be had now: .* cannot be reached") as caught:
        find_model("models:/beer/1")
    assert "MLFLOW_TRACKING_URI" in str(caught.value.hint)
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("s3://key:hush-hush@bucket/model", "the files are in `s3://bucket/model`, which repro does not reach"),
        ("/no/such/place", "the files are in `/no/such/place` of the server's machine, which this machine has not"),
        ("somewhere/else", "the registry names `somewhere/else`, which is no place of its own"),
        ("models:/wine/1", "the registry leads nowhere: `models:/wine/1` -> `models:/wine/1`"),
        ("mlflow-artifacts:/0/../../etc", "is no path below a run's artifacts"),
    ],
)
def test_what_a_server_names_as_place_is_looked_at_first(
    location: str, said: str, monkeypatch: pytest.MonkeyPatch, cache: Store
) -> None:
    with answering(lambda asked: say({"artifact_uri": location})) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with pytest.raises(ModelError) as caught:
            find_model("models:/wine/1", store=cache)
    assert said in caught.value.message
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"


def test_files_are_written_where_they_belong_whatever_a_server_lists(
    monkeypatch: pytest.MonkeyPatch, cache: Store, tmp_path: Path
) -> None:
    hostile = ["../evil", "/etc/evil", "..", ".", "", "a/../../evil", "a\\b", "x/y"]

    def script(asked: Asked) -> Said:
        if "get-download-uri" in asked.path:
            return say({"artifact_uri": "mlflow-artifacts:/0/models/m-1/artifacts"})
        if "artifacts?path=" in asked.path:
            return say({"files": [{"path": each, "is_dir": False, "file_size": 2} for each in (*hostile, "MLmodel")]})
        return Said(body=b"{}")

    with answering(script) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        found = find_model("models:/wine/1", store=cache)
    assert list_files(found.path) == ["MLmodel"]
    assert [each for each in list_files(tmp_path) if "evil" in each] == []


def test_a_download_that_is_cut_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Store) -> None:
    def script(asked: Asked) -> Said:
        if "get-download-uri" in asked.path:
            return say({"artifact_uri": "mlflow-artifacts:/0/models/m-1/artifacts"})
        if "artifacts?path=" in asked.path:
            sizes = {"MLmodel": 2, "weights": 9}
            return say({"files": [{"path": name, "is_dir": False, "file_size": n} for name, n in sizes.items()]})
        return Said(body=b"{}")  # the weights are shorter than they were listed

    with answering(script) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with pytest.raises(ModelError, match="`weights` has 2 bytes, and the server lists 9"):
            find_model("models:/wine/1", store=cache)
    assert os.listdir(cache.room("models")) == os.listdir(cache.room("tmp")) == []


def test_a_model_that_changes_while_it_is_downloaded_is_not_kept(monkeypatch: pytest.MonkeyPatch, cache: Store) -> None:
    answers = [b"{}", b"[]", b"{}"]

    def script(asked: Asked) -> Said:
        if "get-download-uri" in asked.path:
            return say({"artifact_uri": "mlflow-artifacts:/0/models/m-1/artifacts"})
        if "artifacts?path=" in asked.path:
            return say({"files": [{"path": "MLmodel", "is_dir": False, "file_size": 2}]})
        return Said(body=answers.pop(0))

    with answering(script) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with pytest.raises(ModelError, match="the model was changed while it was downloaded"):
            find_model("models:/wine/1", store=cache)
    assert os.listdir(cache.room("models")) == []


def test_many_at_once_get_one_model(uri: str, cache: Store) -> None:
    name = register(PICKLED, ("model.pkl",))
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: find_model(name, store=cache), range(4)))
    assert [list_files(each.path) for each in found] == [["MLmodel", "model.pkl"]]
    assert os.listdir(cache.room("tmp")) == []


def test_a_model_on_this_machine_that_a_server_names_is_still_foreign(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    with answering(lambda asked: say({"artifact_uri": (tmp_path / "m").as_uri()})) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert find_model("models:/wine/1") == FoundModel(path=tmp_path / "m", name="models:/wine/1", is_foreign=True)


def test_names_may_come_from_another_server_than_runs(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Store
) -> None:
    register(PICKLED)
    source = Client().get_model_version("wine", 1).source
    registry = serve_in_background(FileStore(tmp_path / "names"), token=None)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", registry.uri)
    api = Api(registry.uri)
    api.post("registered-models/create", name="red")
    api.post("model-versions/create", name="red", source=source)
    assert list_files(find_model("models:/red/1", store=cache).path) == ["MLmodel"]
    with pytest.raises(ModelError, match="there is no registered model `wine`"):
        find_model("models:/wine/1", store=cache)
    registry.close()


# trust


@pytest.mark.parametrize(
    ("flavors", "allowed"), [(PICKLED, False), (SKOPS, True), (XGBOOST, True), (BOOSTER, True), (BOOSTED, False)]
)
def test_a_model_of_a_server_is_loaded_here_only_where_its_format_runs_no_code(
    uri: str, cache: Store, flavors: dict[str, object], allowed: bool
) -> None:
    (own,) = flavors.values()
    assert isinstance(own, dict)
    found = find_model(register(flavors, (own.get("pickled_model") or own["data"],)), store=cache)
    directory = read_directory(found.path, name=found.name)
    assert found.is_foreign
    if allowed:
        refuse_code(directory, None, environ={"MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false"}, is_foreign=True)
        return
    with pytest.raises(ModelError, match="comes from a server"):
        refuse_code(directory, None, environ={}, is_foreign=True)
    refuse_code(directory, None, environ={})  # with `trust=True`
    with pytest.raises(ModelError, match="MLFLOW_ALLOW_MODEL_CODE_EXECUTION forbids"):
        refuse_code(directory, None, environ={"MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false"})


def test_load_model_asks_for_trust_in_a_pickle_of_a_server(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = register(PICKLED, ("model.pkl",))
    with pytest.raises(ModelError, match="`models:/wine/1` comes from a server") as caught:
        repro.load_model(name)
    assert "`trust=True`" in str(caught.value.hint)
    for options in ({"trust": True}, {"restore": True}):
        with pytest.raises(ReproError) as other:  # neither cloudpickle nor a file of its environment is here
            repro.load_model(name, **options)  # type: ignore[arg-type]
        assert "comes from a server" not in other.value.message
    monkeypatch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "false")
    for options in ({}, {"trust": True}, {"restore": True}):
        with pytest.raises(ModelError, match="MLFLOW_ALLOW_MODEL_CODE_EXECUTION forbids"):
            repro.load_model(name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a\0b", "~nobody-of-this-name/model", "http://[bad"])
def test_a_name_that_cannot_be_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises((UsageError, ModelError), match=r"names no model|is no model"):
        repro.load_model(name)
