"""Run projects of every kind of URI through the command, and logged runs again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, TestEnvironment
from readable_store import ReadableStore
from repositories import GitServer, commit, make_work, run_git

from repro.tracking.entities import NewRun
from repro.tracking.file_store import FileStore
from repro.tracking.server import serve_in_background

SCRIPT = """\
import sys, repro, alpha
rate = repro.param("rate", 0.5)
with repro.start_run():
    repro.log_param("seen", rate)
    repro.log_metric("twice", rate * 2)
open("made.txt", "w").write("made")
print(alpha.VERSION, {text!r})
"""


def make_script(text: str) -> str:
    return SCRIPT.replace("{text!r}", repr(text))


@pytest.fixture
def repository(tmp_path: Path, git_config: Path, environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a project below `models/` at two commits, run with the environment's Python."""
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    work = make_work(tmp_path / "wine")
    commit(work, "one", models__train_py=make_script("first"))
    run_git(work, "tag", "v1")
    commit(work, "two", models__train_py=make_script("second"))
    return work


def run_json(cli: Cli, *args: str, code: int = 0) -> tuple[dict[str, str], str]:
    done = cli("run", *args, "--json", code=code)
    return dict(json.loads(done.stdout)), done.stderr


def read_tags(run_id: str) -> dict[str, str]:
    return dict(ReadableStore(Path("mlruns")).read_tags(run_id))


def read_params(run_id: str) -> dict[str, str]:
    return dict(ReadableStore(Path("mlruns")).read_params(run_id))


def test_a_version_runs_in_a_tree_of_its_own_with_mlflows_tags(repository: Path, cli: Cli) -> None:
    result, said = run_json(cli, f"{repository}/models", "--version", "v1", "-e", "train.py", "-P", "rate=2")
    assert "1.0 first" in said
    tags = read_tags(result["run_id"])
    assert tags["mlflow.source.name"] == f"{repository.as_uri()}#models"
    assert tags["mlflow.source.git.commit"] == run_git(repository, "rev-parse", "v1")
    assert tags["mlflow.source.git.repoURL"] == repository.as_uri()
    assert tags["mlflow.source.git.dirty"] == "false"
    assert tags["mlflow.project.version"] == "v1"
    assert "mlflow.source.git.branch" not in tags
    assert run_git(repository, "status", "--porcelain") == ""
    assert read_params(result["run_id"]) == {"rate": "2", "seen": "2.0"}


def test_a_directory_is_named_as_mlflow_names_it(repository: Path, cli: Cli) -> None:
    result, _ = run_json(cli, f"{repository}/models", "-e", "train.py")
    tags = read_tags(result["run_id"])
    assert tags["mlflow.source.name"] == f"{repository.as_uri()}#models"
    assert (repository / "models" / "requirements-lock.txt").exists()
    assert cli("snapshot", f"{repository}/models", "--used", "--json").returncode == 0


def test_a_repository_behind_a_server_runs_and_again_offline(repository: Path, git_server: GitServer, cli: Cli) -> None:
    run_git(repository, "clone", "--quiet", "--bare", ".", str(git_server.root / "wine.git"))
    git_server.login = "ada:s3cret"
    uri = f"http://ada:s3cret@{git_server.host}/smart/wine.git#models"
    result, said = run_json(cli, uri, "-e", "train.py", "--version", "main")
    tags = read_tags(result["run_id"])
    assert tags["mlflow.source.name"] == f"{git_server.url}/smart/wine.git#models"
    assert tags["mlflow.source.git.repoURL"] == f"{git_server.url}/smart/wine.git"
    assert (tags["mlflow.source.git.branch"], tags["mlflow.project.version"]) == ("main", "main")
    _, again = run_json(cli, uri, "-e", "train.py", "--version", "main", "--offline", "-v")
    assert "1.0 second" in again
    assert "offline: " in again
    kept = [path for path in Path("mlruns").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert "s3cret" not in said + again
    assert kept == []


def test_a_zip_runs_from_its_subdirectory(repository: Path, git_server: GitServer, cli: Cli) -> None:
    path = git_server.root / "wine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(repository / "models" / "train.py", "models/train.py")
    for uri, name in ((str(path), path.as_uri()), (f"{git_server.url}/wine.zip", f"{git_server.url}/wine.zip")):
        result, said = run_json(cli, f"{uri}#models", "-e", "train.py")
        tags = read_tags(result["run_id"])
        assert "1.0 second" in said
        assert tags["mlflow.source.name"] == f"{name}#models"
        assert "mlflow.source.git.commit" not in tags
        again, _ = run_json(cli, result["run_id"])
        assert read_tags(again["run_id"])["repro.source.sha256"] == tags["repro.source.sha256"]
    assert not path.with_name("requirements-lock.txt").exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["{repository}", "--version", "nope"], "has no commit, tag or branch `nope`"),
        (["{repository}#nope", "--version", "v1"], "there is no directory `nope` in `file://"),
        (["{repository}#nope"], "there is no directory `nope` in `"),
        (["{repository}/models", "--version", "v1", "-e", "tran.py"], "has no entry point `tran.py`"),
        (["."], "has no entry point `main`"),
        ([".", "--version", "v1"], "`--version v1` is for git repositories, and `.` lies in none"),
        (["0" * 32], f"`{'0' * 32}`"),
        ([".", "--restore", "--no-restore"], "exclude each other"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_no_run(
    args: list[str], sentence: str, repository: Path, cli: Cli
) -> None:
    done = cli("run", *(each.replace("{repository}", str(repository)) for each in args), code=None)
    assert done.returncode in (2, 5)
    assert sentence in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not list(Path().glob("mlruns/0/*/tags"))


def test_a_run_is_run_again_with_its_code_parameters_and_snapshot(repository: Path, cli: Cli) -> None:
    first, _ = run_json(cli, f"{repository}/models", "--version", "v1", "-e", "train.py", "-P", "rate=2")
    again, said = run_json(cli, first["run_id"])
    assert "1.0 first" in said
    assert again["digest"] == first["digest"]
    assert again["restored"] is True
    tags = read_tags(again["run_id"])
    assert tags["repro.rerun_of"] == first["run_id"]
    assert tags["mlflow.source.git.commit"] == run_git(repository, "rev-parse", "v1")
    assert tags["mlflow.project.entryPoint"] == "train.py"
    assert read_params(again["run_id"]) == {"rate": "2", "seen": "2.0"}
    other, _ = run_json(cli, f"runs:/{first['run_id']}", "-P", "rate=3", "-P", "more=x", "--no-restore")
    assert other["restored"] is False
    assert read_params(other["run_id"]) == {"rate": "3", "seen": "3.0", "more": "x"}
    third, _ = run_json(cli, other["run_id"][:12])
    assert read_params(third["run_id"]) == {"rate": "3", "seen": "3.0", "more": "x"}


def test_the_beginning_of_an_id_that_names_no_one_run_is_told(cli: Cli) -> None:
    store = FileStore(Path.cwd() / "mlruns")
    run_id = store.create_run(NewRun(experiment_id="0", user_id="me", start_time_ms=1)).info.run_id
    directory = store.root / "0"
    twin = run_id[:-1] + ("0" if run_id[-1] != "0" else "1")
    shutil.copytree(directory / run_id, directory / twin)
    done = cli("run", run_id[:8], code=2)
    assert (
        f"error: 2 runs begin with `{run_id[:8]}`\n  {min(run_id, twin)}\n  {max(run_id, twin)}\nhint: " in done.stderr
    )
    other = "abcdef" if not run_id.startswith("abcdef") else "fedcba"
    assert f"`{other}` is no directory here, and no run in `" in cli("run", other, code=2).stderr


def test_a_run_of_a_server_is_run_again(
    repository: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = serve_in_background(FileStore(tmp_path / "kept"), token=None)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", endpoint.uri)
        first, _ = run_json(cli, f"{repository}/models", "--version", "v1", "-e", "train.py", "-P", "rate=2")
        again, said = run_json(cli, first["run_id"][:8])
        shown = cli("runs", "show", first["run_id"][:5], "--json").stdout
        store, run_id = FileStore(tmp_path / "kept"), first["run_id"]
        twin = run_id[:-1] + ("0" if run_id[-1] != "0" else "1")
        shutil.copytree(store.root / "0" / run_id, store.root / "0" / twin)
        meta = store.root / "0" / twin / "meta.yaml"
        meta.write_text(meta.read_text().replace(run_id, twin))
        several = [cli("run", run_id[:30], code=2).stderr, cli("runs", "show", run_id[:30], code=2).stderr]
    finally:
        endpoint.close()
    assert run_id in shown
    assert f"2 runs begin with `{run_id[:30]}`" in several[0]
    assert f"`{run_id[:30]}` may be 2 runs: {min(run_id, twin)[:31]}" in several[1]
    assert "1.0 first" in said
    assert again["restored"] is True
    kept = ReadableStore(tmp_path / "kept")
    assert kept.read_tags(again["run_id"])["repro.rerun_of"] == run_id
    assert kept.read_params(again["run_id"]) == {"rate": "2", "seen": "2.0"}


def test_a_run_of_uncommitted_changes_is_run_again_with_them(repository: Path, cli: Cli) -> None:
    script = repository / "models" / "train.py"
    script.write_text("import helper\n" + make_script("changed"))
    (repository / "models" / "helper.py").write_text("print('helped')\n")
    (repository / "models" / "notes.bin").write_bytes(b"\0\1")
    first, _ = run_json(cli, f"{repository}/models", "-e", "train.py")
    assert read_tags(first["run_id"])["mlflow.source.git.dirty"] == "true"
    run_git(repository, "checkout", "--quiet", ".")
    (repository / "models" / "helper.py").unlink()
    again, said = run_json(cli, first["run_id"])
    assert "helped" in said
    assert "1.0 changed" in said
    assert re.search(r"warning: run \w+ has not kept all of its changes: .*notes.bin \(it is no text\)", said)
    third, said = run_json(cli, again["run_id"])
    assert "1.0 changed" in said
    assert read_tags(third["run_id"])["repro.rerun_of"] == again["run_id"]
    assert script.read_text() == make_script("second")


def test_a_run_whose_directory_is_gone_comes_from_its_remote(repository: Path, tmp_path: Path, cli: Cli) -> None:
    bare = tmp_path / "wine.git"
    run_git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    clone = tmp_path / "clone"
    run_git(tmp_path, "clone", "--quiet", str(bare), str(clone))
    first, _ = run_json(cli, f"{clone}/models", "-e", "train.py")
    run_git(clone, "commit", "--quiet", "--amend", "--message", "rewritten")
    run_git(clone, "update-ref", "-d", "refs/remotes/origin/main")
    run_git(clone, "reflog", "expire", "--expire=now", "--all")
    run_git(clone, "gc", "--quiet", "--prune=now")
    _, said = run_json(cli, first["run_id"])
    assert f"fetching {read_tags(first['run_id'])['mlflow.source.git.commit'][:12]} of {bare.as_uri()}" in said
    shutil.rmtree(clone)
    _, said = run_json(cli, first["run_id"])
    assert "1.0 second" in said
    bare.rename(tmp_path / "gone.git")
    done = cli("run", first["run_id"], code=5)
    assert f"error: run {first['run_id']} cannot be run again: its code is nowhere to be found" in done.stderr


def test_a_run_without_commit_uses_its_directory_and_says_so(
    tmp_path: Path, environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(make_script("here"))
    first, _ = run_json(cli, str(project), "-e", "train.py", "--no-snapshot", "-P", "rate=1")
    _, said = run_json(cli, first["run_id"])
    assert f"warning: run {first['run_id']} has no commit: `{project}` is run as it is now" in said
    assert f"warning: run {first['run_id']} has no snapshot: it is run again in your environment" in said
    assert "1.0 here" in said
    shutil.rmtree(project)
    assert "its code is nowhere to be found" in cli("run", first["run_id"], code=5).stderr


def test_a_script_that_started_its_run_itself_is_run_again(
    repository: Path, environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "from repro import start_run, log_param\nwith start_run(): log_param('seen', 1)\nprint('own')\n"
    made = commit(repository, "own", models__own_py=script)
    work = Path.cwd()
    monkeypatch.chdir(repository)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(work / "mlruns"))
    subprocess.run([sys.executable, "models/own.py"], check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    (run_id,) = (path.parent.name for path in (work / "mlruns" / "0").glob("*/tags"))
    commit(repository, "later", models__own_py="print('later')\n")
    again, said = run_json(cli, run_id, "--no-restore")
    assert "own" in said
    assert f"run {run_id} does not say which of its parameters were given (`seen`)" in said
    monkeypatch.chdir(work)
    assert read_tags(again["run_id"])["mlflow.source.git.commit"] == made


def test_an_interrupted_run_frees_its_tree(repository: Path, cli: Cli) -> None:
    script = "import time, pathlib, sys\npathlib.Path(sys.argv[2]).touch()\ntime.sleep(60)\n"
    commit(repository, "slow", slow_py=script)
    mark = repository.parent / "started"
    process = cli.start("run", str(repository), "--version", "main", "-e", "slow.py", "-P", f"mark={mark}")
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    result, _ = run_json(cli, f"{repository}#models", "--version", "main", "-e", "train.py")
    assert result["status"] == "FINISHED"
    assert len(list(cli.cache.glob("repro/v1/checkouts/*/*"))) == 1


def test_the_caches_housekeeping_counts_keeps_and_removes_them(repository: Path, cli: Cli) -> None:
    run_json(cli, f"{repository}/models", "--version", "v1", "-e", "train.py")
    rooms = json.loads(cli("cache", "info", "--json").stdout)["rooms"]
    assert (rooms["checkouts"]["count"], rooms["repositories"]["count"], rooms["seen"]["count"]) == (1, 1, 1)
    kept = json.loads(cli("cache", "prune", "--json").stdout)["removed"]
    assert [each for each in kept if each["kind"] in ("checkout", "repository")] == []
    gone = json.loads(cli("cache", "prune", "--older-than", "0", "--json").stdout)["removed"]
    assert [each["kind"] for each in gone if each["kind"] in ("checkout", "repository")] == ["checkout"]
    gone = json.loads(cli("cache", "prune", "--older-than", "0", "--json").stdout)["removed"]
    assert [each["kind"] for each in gone if each["kind"] in ("checkout", "repository")] == ["repository"]
    assert "1.0 first" in run_json(cli, f"{repository}/models", "--version", "v1", "-e", "train.py")[1]
    cli("cache", "clear", "--yes")
    assert not list(cli.cache.glob("repro/v1/checkouts/*"))
    assert not list(cli.cache.glob("repro/v1/repositories/*"))


def test_a_tree_in_use_is_never_removed(repository: Path, cli: Cli) -> None:
    script = "import time, pathlib, sys\npathlib.Path(sys.argv[2]).touch()\n"
    script += "while pathlib.Path(sys.argv[2]).exists(): time.sleep(0.05)\nopen('slow.py').close()\n"
    commit(repository, "slow", slow_py=script)
    mark = repository.parent / "started"
    process = cli.start("run", str(repository), "--version", "main", "-e", "slow.py", "-P", f"mark={mark}")
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    cli("cache", "clear", "--yes")
    cli("cache", "prune", "--older-than", "0")
    mark.unlink()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
