"""`repro mlflow` as a user has it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Cli, LocalIndex, TestEnvironment
from own_mlflow import publish, write_program


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "repro" / "mlflow"


@pytest.fixture
def releases(index: LocalIndex) -> LocalIndex:
    """An index with two releases, the newer of which is not the one repro is tested against."""
    publish(index, "3.17.2", requires=("beta",))
    publish(index, "9.1")
    return index


def install(cli: Cli, *args: str) -> dict[str, object]:
    return dict(json.loads(cli("mlflow", "install", "--json", *args).stdout))


def list_current(cli: Cli) -> list[tuple[str, bool]]:
    found = json.loads(cli("mlflow", "list", "--json").stdout)["releases"]
    return [(each["version"], each["current"]) for each in found]


def test_a_release_is_locked_once_and_then_looked_up(cli: Cli, releases: LocalIndex) -> None:
    first = install(cli)
    assert (first["version"], first["locked"]) == ("3.17.2", True)
    asked = releases.requests
    releases.add("beta", "9.0")
    second = install(cli)
    assert (second["version"], second["locked"], releases.requests) == ("3.17.2", False, asked)
    assert second["environment"]["reused"] is True
    assert install(cli, "--offline")["mlflow"] == first["mlflow"]


def test_an_emptied_cache_brings_back_the_same_files(cli: Cli, releases: LocalIndex) -> None:
    digest = install(cli)["environment"]["digest"]
    releases.add("beta", "9.0")
    shutil.rmtree(cli.cache / "repro")
    assert cli("mlflow", "path").stdout.startswith(str(cli.cache))
    assert install(cli)["environment"]["digest"] == digest


def test_the_one_installed_last_is_used(cli: Cli, releases: LocalIndex) -> None:
    default = install(cli)["mlflow"]
    newer = install(cli, "9.1.0")  # is 9.1, of which the index has it
    assert list_current(cli) == [("3.17.2", False), ("9.1", True)]
    assert cli("mlflow", "path").stdout.strip() == newer["mlflow"]
    assert install(cli)["mlflow"] == default
    assert list_current(cli) == [("3.17.2", True), ("9.1", False)]
    cli("mlflow", "uninstall", "3.17.2")
    assert list_current(cli) == [("9.1", False)]
    assert "`3.17.2` is not installed" in cli("mlflow", "uninstall", "3.17.2", code=2).stderr


def test_its_command_runs_apart_from_the_users_environment_on_the_current_store(
    cli: Cli, releases: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(cli)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    told = json.loads(cli("mlflow", "--", "runs", "list", "--json").stdout)
    assert told["args"] == ["runs", "list", "--json"]
    assert told["prefix"] == installed["environment"]["path"]
    assert told["path"].split(os.pathsep)[0] == os.path.dirname(str(installed["mlflow"]))
    environ = told["environ"]
    assert not {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} & set(environ)
    assert environ["MLFLOW_BIN"] == installed["mlflow"]
    assert (environ["MLFLOW_TRACKING_URI"], environ["MLFLOW_ALLOW_FILE_STORE"]) == (
        Path("mlruns").absolute().as_uri(),
        "true",
    )
    elsewhere = json.loads(cli("mlflow", "--store", "https://example.org", "--", "x").stdout)
    assert elsewhere["environ"]["MLFLOW_TRACKING_URI"] == "https://example.org"
    assert cli("mlflow", "--", "--fail", code=7).stderr == ""


def test_the_one_that_is_named_wins_and_one_of_the_users_is_found_last(
    cli: Cli, environment: TestEnvironment, releases: LocalIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "hint: `repro mlflow install`" in cli("mlflow", "path", code=2).stderr
    on_path = write_program(tmp_path / "bin" / "mlflow")
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    assert cli("mlflow", "path").stdout.strip() == str(on_path)
    beside = write_program(Path(environment.python).parent / "mlflow")
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    assert cli("mlflow", "path").stdout.strip() == str(beside)
    installed = install(cli)["mlflow"]
    assert cli("mlflow", "path").stdout.strip() == installed
    monkeypatch.setenv("MLFLOW_BIN", "/named/mlflow")
    assert json.loads(cli("mlflow", "path", "--json").stdout) == {"mlflow": "/named/mlflow", "found_by": "MLFLOW_BIN"}
    assert "`/named/mlflow` cannot be started" in cli("mlflow", "--", "x", code=2).stderr


def test_a_named_interpreter_is_remembered(
    cli: Cli, environment: TestEnvironment, releases: LocalIndex, data_dir: Path
) -> None:
    installed = install(cli, "--python", environment.python)
    (link,) = data_dir.glob("3.17.2-*/python")
    assert os.readlink(link) == os.path.realpath(environment.python)
    assert cli("mlflow", "path").stdout.strip() == installed["mlflow"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["install", "newest"], 2, "`newest` is no version of MLflow"),
        (["install", "77"], 5, "MLflow 77 cannot be locked"),
        (["install", "--offline"], 5, "was not installed here before"),
        (["install", "--as-of", "yesterday"], 2, "`yesterday` is no date"),
        (["install", "--python", "/no/such/python"], 4, "/no/such/python"),
        (["instal"], 2, "did you mean `repro mlflow install`?"),
        (["--json", "--", "x"], 2, "`--json` is nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_and_leaves_nothing(
    cli: Cli, releases: LocalIndex, data_dir: Path, args: list[str], code: int, said: str
) -> None:
    done = cli("mlflow", *args, code=code)
    assert said in done.stderr
    assert not list(data_dir.glob("*/"))


def test_a_data_directory_that_cannot_be_written_is_said(
    cli: Cli, releases: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/data")
    assert "hint: name another directory with XDG_DATA_HOME" in cli("mlflow", "install", code=5).stderr
    assert "no MLflow is installed" in cli("mlflow", "list").stderr


def test_a_damaged_lock_is_listed_and_said(cli: Cli, releases: LocalIndex) -> None:
    lock = Path(str(install(cli)["lock"]))
    lock.write_text("# repro-lock-version: 1\nthis is no requirement\n")
    assert "damaged" in cli("mlflow", "list").stdout
    assert str(lock) in cli("mlflow", "path", code=3).stderr
