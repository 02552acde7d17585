"""Artifacts through the server: in, out, listed, removed, and never outside of a run."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from api_client import API, PROXY, Api

from repro.tracking.entities import NewRun
from repro.tracking.file_store import FileStore

CREATE_RUN = NewRun(experiment_id="0", user_id="me", start_time_ms=1)


@pytest.fixture
def run_id(api: Api) -> str:
    """A run."""
    return api.create_run()


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 20_000])
def test_a_file_comes_back_as_it_went_in(api: Api, run_id: str, content: bytes) -> None:
    path = f"0/{run_id}/artifacts/some dir/ünï 100%.bin"
    assert api.put(path, content).status == 200
    answer = api.fetch(path)
    assert (answer.status, answer.body) == (200, content)
    by_run = api.ask("GET", f"/get-artifact?run_uuid={run_id}&path={quote('some dir/ünï 100%.bin')}")
    assert by_run.body == content


def test_a_file_in_chunks_is_kept(api: Api, run_id: str, store: FileStore) -> None:
    head = f"PUT {PROXY}/0/{run_id}/artifacts/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 200 " in api.send_raw(head.encode() + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert store.read_artifact(run_id, "a") == b"abcde"


def test_a_file_is_replaced_whole(api: Api, run_id: str, store: FileStore) -> None:
    path = f"0/{run_id}/artifacts/model/weights"
    api.put(path, b"old and long")
    api.put(path, b"new")
    assert store.read_artifact(run_id, "model/weights") == b"new"


def test_of_half_an_upload_nothing_stays(api: Api, run_id: str, store: FileStore) -> None:
    path = f"0/{run_id}/artifacts/model/weights"
    api.put(path, b"old")
    head = f"PUT {PROXY}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nnew"
    assert b" 400 " in api.send_raw(head.encode())
    assert store.read_artifact(run_id, "model/weights") == b"old"
    assert os.listdir(store.find_run_dir(run_id) / "artifacts" / "model") == ["weights"]


def test_a_browser_is_told_to_keep_a_file_and_not_to_run_it(api: Api, run_id: str) -> None:
    api.put(f"0/{run_id}/artifacts/page.html", b"<script>alert(1)</script>")
    headers = api.fetch(f"0/{run_id}/artifacts/page.html").headers
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox"


def test_listings_have_names_sizes_and_directories(api: Api, run_id: str) -> None:
    for name in ("b.txt", "a/deep/c.txt", "a/x.txt"):
        api.put(f"0/{run_id}/artifacts/{name}", b"123")
    top = api.get("artifacts/list", run_id=run_id)
    assert top["root_uri"] == f"mlflow-artifacts:/0/{run_id}/artifacts"
    assert top["files"] == [{"path": "a", "is_dir": True}, {"path": "b.txt", "is_dir": False, "file_size": 3}]
    below = api.get("artifacts/list", run_id=run_id, path="a")["files"]
    assert [each["path"] for each in below] == ["a/deep", "a/x.txt"]
    proxied = api.ask("GET", f"{PROXY}?path=0/{run_id}/artifacts/a").json["files"]
    assert [each["path"] for each in proxied] == ["deep", "x.txt"]
    assert api.get("artifacts/list", run_id=run_id, path="b.txt")["files"] == []
    assert api.get("artifacts/list", run_id=run_id, path="nothing")["files"] == []


def test_files_and_directories_are_removed(api: Api, run_id: str, store: FileStore) -> None:
    for name in ("a/b/c", "a/d", "e"):
        api.put(f"0/{run_id}/artifacts/{name}", b"1")
    for name in ("a/b", "e", "gone"):
        assert api.ask("DELETE", f"{PROXY}/0/{run_id}/artifacts/{name}").status == 200
    assert store.open_artifacts(run_id).list_files() == ["a/d"]


def test_a_directory_is_no_file_and_a_file_no_directory(api: Api, run_id: str) -> None:
    api.put(f"0/{run_id}/artifacts/a/b", b"1")
    assert api.put(f"0/{run_id}/artifacts/a", b"1").status == 400
    assert api.put(f"0/{run_id}/artifacts/a/b/c", b"1").status == 400
    assert api.fetch(f"0/{run_id}/artifacts/a").status == 404
    assert api.fetch(f"0/{run_id}/artifacts/nothing").status == 404
    assert api.put(f"0/{run_id}/artifacts/", b"1").status == 400
    assert api.ask("DELETE", f"{PROXY}/0/{run_id}/artifacts").status == 400


@pytest.mark.parametrize(
    "path",
    [
        "../meta.yaml", "a/../../meta.yaml", "%2e%2e/meta.yaml", "..%2fmeta.yaml", "%2e%2e%2fmeta.yaml",
        "%252e%252e%252fmeta.yaml", "%252e%252e/meta.yaml", "%25252e%25252e/x", "..%5cmeta.yaml", "a%5c..%5cb", ".",
        "./a", "%2e/a", "a/..", "/etc/passwd", "%2fetc/passwd", "%2f%2fetc/passwd", "a%00b", "%00", "a%0ab", "a%0d%0ab",
        ".0123abcd.tmp", "a/.0123abcd.tmp", "a%252fb", "a" * 5000, "a" * 256, "%61" * 256,
        "a/b" * 1500, "..", "../../../../../../../../etc/passwd",
    ],
)  # fmt: skip
def test_no_spelling_of_a_path_leads_out(api: Api, run_id: str, store: FileStore, path: str) -> None:
    before = sorted(map(str, store.root.parent.rglob("*")))
    for method, body in (("PUT", b"x"), ("GET", None), ("DELETE", None)):
        answer = api.ask(method, f"{PROXY}/0/{run_id}/artifacts/{path}", body=body)
        assert answer.status == 400, answer
    assert api.ask("GET", f"{API}/artifacts/list?run_id={run_id}&path={path}").status in (200, 400)
    assert api.ask("GET", f"/get-artifact?run_id={run_id}&path={path}").status in (400, 404)
    assert sorted(map(str, store.root.parent.rglob("*"))) == before


@pytest.mark.parametrize(
    "path",
    [
        "0/meta.yaml", "0/{run}/meta.yaml", "0/{run}/params/alpha", "0/{run}/artifactsx/a", "{run}/artifacts/a", "",
        "models/m/version-1/meta.yaml", "../{run}/artifacts/a", "0/../0/{run}/artifacts/a", "0//{run}/artifacts/a",
        "0/%2e%2e/artifacts/a", ".trash/{run}/artifacts/a", "0/models/../artifacts/a", "0/models/m/params/a",
    ],
)  # fmt: skip
def test_nothing_but_artifacts_can_be_named(api: Api, run_id: str, store: FileStore, path: str) -> None:
    place = path.format(run=run_id)
    for method in ("PUT", "GET", "DELETE"):
        answer = api.ask(method, f"{PROXY}/{place}", body=b"x" if method == "PUT" else None)
        assert answer.status in (400, 404, 405), answer
    assert "experiment_id" in (store.find_run_dir(run_id) / "meta.yaml").read_text()


def test_a_run_is_found_only_in_its_own_experiment(api: Api, run_id: str) -> None:
    other = api.post("experiments/create", name="other")["experiment_id"]
    assert api.put(f"{other}/{run_id}/artifacts/a", b"1").status == 404
    assert api.put(f"0/{'0' * 32}/artifacts/a", b"1").status == 404


def test_links_that_lead_out_are_neither_listed_nor_followed(
    api: Api, run_id: str, store: FileStore, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    artifacts = store.find_run_dir(run_id) / "artifacts"
    (artifacts / "dir").symlink_to(secret)
    (artifacts / "file").symlink_to(secret / "key")
    (artifacts / "loop").symlink_to("loop")
    (artifacts / "own").write_text("own")
    (artifacts / "inner").symlink_to("own")
    for path in ("dir/key", "file", "dir/new", "loop"):
        assert api.fetch(f"0/{run_id}/artifacts/{path}").status in (400, 404)
        assert api.put(f"0/{run_id}/artifacts/{path}", b"x").status == 400
        assert api.ask("DELETE", f"{PROXY}/0/{run_id}/artifacts/{path}").status == 400
    assert [each["path"] for each in api.get("artifacts/list", run_id=run_id)["files"]] == ["inner", "own"]
    assert api.fetch(f"0/{run_id}/artifacts/inner").body == b"own"
    assert os.listdir(secret) == ["key"]
    assert (secret / "key").read_text() == "secret"


def test_parts_are_not_taken_and_clients_are_told(api: Api, run_id: str) -> None:
    for deed in ("create", "complete", "abort"):
        answer = api.ask("POST", f"/api/2.0/mlflow-artifacts/mpu/{deed}/0/{run_id}/artifacts", body={"path": "x"})
        assert (answer.status, answer.error_code) == (501, "NOT_IMPLEMENTED")


def test_a_file_larger_than_the_disk_is_refused_before_it_is_sent(api: Api, run_id: str) -> None:
    head = f"PUT {PROXY}/0/{run_id}/artifacts/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000000000000\r\n\r\n"
    assert b" 507 " in api.send_raw(head.encode())


def test_the_directory_says_where_files_are_and_clients_are_told_the_server(
    api: Api, run_id: str, store: FileStore
) -> None:
    run = api.get("runs/get", run_id=run_id)["run"]
    assert run["info"]["artifact_uri"] == f"mlflow-artifacts:/0/{run_id}/artifacts"
    assert store.get_info(run_id).artifact_uri == (store.find_run_dir(run_id) / "artifacts").as_uri()
    experiment = api.get("experiments/get", experiment_id="0")["experiment"]
    assert experiment["artifact_location"] == "mlflow-artifacts:/0"


def test_a_directory_of_runs_that_was_moved_is_served(api: Api, run_id: str, store: FileStore) -> None:
    api.put(f"0/{run_id}/artifacts/a", b"1")
    meta = store.find_run_dir(run_id) / "meta.yaml"
    meta.write_text(meta.read_text().replace(store.root.as_uri(), "file:///elsewhere/mlruns"))
    assert api.fetch(f"0/{run_id}/artifacts/a").body == b"1"


def test_artifacts_kept_in_another_directory_are_served(api: Api, store: FileStore, tmp_path: Path) -> None:
    experiment_id = store.create_experiment("elsewhere", artifact_location=(tmp_path / "elsewhere").as_uri())
    run_id = api.create_run(experiment_id)
    assert api.put(f"{experiment_id}/{run_id}/artifacts/a", b"1").status == 200
    assert (tmp_path / "elsewhere" / run_id / "artifacts" / "a").read_bytes() == b"1"


def test_artifacts_of_a_remote_place_are_left_to_clients(api: Api, store: FileStore) -> None:
    location = "s3://bucket/runs"
    experiment_id = api.post("experiments/create", name="remote", artifact_location=location)["experiment_id"]
    assert api.get("experiments/get", experiment_id=experiment_id)["experiment"]["artifact_location"] == location
    run_id = api.create_run(experiment_id)
    uri = f"{location}/{run_id}/artifacts"
    assert api.get("runs/get", run_id=run_id)["run"]["info"]["artifact_uri"] == uri
    answer = api.put(f"{experiment_id}/{run_id}/artifacts/a", b"1")
    assert answer.status == 400
    assert "elsewhere" in answer.json["message"]


@pytest.mark.parametrize(
    "location",
    ["/etc", "file:///etc", "../x", "mlflow-artifacts:/0/x", "s3://b/x?a=b", "mlflow-artifacts:/../x", "http://["],
)
def test_a_client_chooses_no_directory_of_the_server(api: Api, location: str) -> None:
    assert api.refuse("experiments/create", name="x", artifact_location=location) == "INVALID_PARAMETER_VALUE"
