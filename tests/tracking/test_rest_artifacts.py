"""Where a run's artifacts are, and servers that would have us write elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from rest_server import Asked, Said, SmallServer, answering, say

from repro.errors import TrackingError, TrackingNotFoundError
from repro.tracking.rest.store import RestStore, open_rest_store

RUN = "a" * 32


def make_script(
    artifact_uri: str, listings: dict[str, list[dict[str, object]]], contents: dict[str, bytes]
) -> Callable[[Asked], Said]:
    """Return a server with one run; what is listed in which directory, and the files by their paths."""

    def script(asked: Asked) -> Said:
        parts = urlsplit(asked.path)
        if parts.path.endswith("runs/get"):
            info = {"run_id": RUN, "experiment_id": "0", "artifact_uri": artifact_uri, "status": "RUNNING"}
            return say({"run": {"info": info, "data": {}}})
        if parts.path.endswith("artifacts/list"):
            return say({"files": listings.get(parse_qs(parts.query).get("path", [""])[0], [])})
        if parts.path in contents:
            return Said(body=contents[parts.path])
        return say({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}, 404)

    return script


def open_run(server: SmallServer, tmp_path: Path, **environ: str) -> RestStore:
    return open_rest_store(server.url, environ={"REPRO_OUTBOX": str(tmp_path / "outbox"), **environ}, cwd=tmp_path)


def file(path: str) -> dict[str, object]:
    return {"path": path, "is_dir": False, "file_size": 1}


PROXY = "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts"
HOSTILE = ["../evil", "/etc/evil", "a/../../evil", "..", ".", "", "a\\..\\evil", "a\0b", "b/c"]


def test_what_a_hostile_server_lists_is_never_written_elsewhere(tmp_path: Path) -> None:
    listings = {
        "": [*map(file, HOSTILE), file("good"), {"path": "sub", "is_dir": True}],
        "sub": [file("sub/../../evil")],
    }
    script = make_script("mlflow-artifacts:/0/run/artifacts", listings, {f"{PROXY}/good": b"x"})
    with answering(script) as server:
        store = open_run(server, tmp_path)
        assert [each.path for each in store.list_artifacts(RUN)] == ["good", "sub"]
        store.download_artifacts(RUN, "", tmp_path / "inner" / "target")
    found = sorted(each.relative_to(tmp_path).as_posix() for each in (tmp_path / "inner").rglob("*") if each.is_file())
    assert found == ["inner/target/good"]
    assert not any(asked.path.endswith("evil") for asked in server.asked)


def test_a_link_in_the_target_does_not_lead_a_download_out_of_it(tmp_path: Path) -> None:
    script = make_script(
        "mlflow-artifacts:/0/run/artifacts",
        {"": [{"path": "sub", "is_dir": True}], "sub": [file("sub/good")]},
        {f"{PROXY}/sub/good": b"x"},
    )
    (tmp_path / "target").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target" / "sub").symlink_to(tmp_path / "elsewhere")
    with answering(script) as server, pytest.raises(TrackingError, match="leads out of"):
        open_run(server, tmp_path).download_artifacts(RUN, "sub", tmp_path / "target")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_listing_without_end_is_given_up(tmp_path: Path) -> None:
    def script(asked: Asked) -> Said:
        parts = urlsplit(asked.path)
        if parts.path.endswith("artifacts/list"):
            path = parse_qs(parts.query).get("path", [""])[0]
            return say({"files": [{"path": f"{path}/a" if path else "a", "is_dir": True}]})
        return make_script("mlflow-artifacts:/0/run/artifacts", {}, {})(asked)

    with answering(script) as server, pytest.raises(TrackingError, match="more than 64 directories"):
        open_run(server, tmp_path).download_artifacts(RUN, "", tmp_path / "target")


@pytest.mark.parametrize(
    "uri", ["s3://bucket/x", "gs://b/x", "dbfs:/x", "hdfs://h/x", "file://other-host/x", "relative/x"]
)
def test_a_place_that_needs_more_than_a_server_is_named(uri: str, tmp_path: Path) -> None:
    with answering(make_script(uri, {}, {})) as server:
        store = open_run(server, tmp_path)
        with pytest.raises(TrackingError, match="which repro does not reach") as caught:
            store.write_artifact(RUN, "a", b"x")
    assert uri.partition(":")[0] in caught.value.message
    assert "serve-artifacts" in (caught.value.hint or "")


@pytest.mark.parametrize("form", ["path", "uri"])
def test_artifacts_go_to_the_runs_own_directory(form: str, tmp_path: Path) -> None:
    place = tmp_path / "shared dir" / RUN / "artifacts"
    with answering(make_script(str(place) if form == "path" else place.as_uri(), {}, {})) as server:
        store = open_run(server, tmp_path)
        store.write_artifact(RUN, "a/b.txt", b"x")
        assert (place / "a" / "b.txt").read_bytes() == b"x"
        assert [(each.path, each.is_dir) for each in store.list_artifacts(RUN)] == [("a", True)]
        assert store.read_artifact(RUN, "a/b.txt") == b"x"
        assert store.download_artifacts(RUN, "a", tmp_path / "back").joinpath("b.txt").read_bytes() == b"x"
        with pytest.raises(TrackingNotFoundError):
            store.read_artifact(RUN, "nothing")


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    refusal = pytest.raises(TrackingError, match=r"the artifact `a` cannot be (kept|written)")
    with answering(make_script("/dev/null/artifacts", {}, {})) as server, refusal:
        open_run(server, tmp_path).write_artifact(RUN, "a", b"x")


def test_another_server_of_artifacts_is_not_shown_our_credentials(tmp_path: Path) -> None:
    with answering(lambda asked: Said(body=b"")) as other:
        uri = f"mlflow-artifacts://{other.host}/0/run/artifacts"
        with answering(make_script(uri, {}, {})) as server:
            store = open_run(server, tmp_path, MLFLOW_TRACKING_TOKEN="s3cret")
            store.write_artifact(RUN, "a", b"x")
    assert [asked.path for asked in other.asked] == [f"{PROXY}/a"]
    assert "authorization" not in other.asked[0].headers
    assert server.asked[0].headers["authorization"] == "Bearer s3cret"


def test_the_same_server_named_in_the_uri_is_shown_them(tmp_path: Path) -> None:
    hosts: list[str] = []

    def script(asked: Asked) -> Said:
        hosts[:] = [asked.headers["host"]]
        if asked.method == "PUT":
            return Said(body=b"")
        return make_script(f"mlflow-artifacts://{hosts[0]}/0/run/artifacts", {}, {})(asked)

    with answering(script) as server:
        open_run(server, tmp_path, MLFLOW_TRACKING_TOKEN="s3cret").write_artifact(RUN, "a", b"x")
    assert [asked.headers.get("authorization") for asked in server.asked] == ["Bearer s3cret"] * 2
