"""Run a project with a parameter of each type."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, LocalIndex
from readable_store import ReadableStore


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", sys.executable)
    return Path(shutil.copytree(REPOSITORY / "fixtures/projects/typed_parameters", tmp_path / "typed"))


def run(cli: Cli, project: Path, *args: str) -> tuple[list[str], dict[str, str]]:
    """Return what the script was passed, and what the run keeps."""
    done = json.loads(cli("run", str(project), "--no-snapshot", "--json", *args).stdout)
    kept = ReadableStore(Path("mlruns")).read_params(done["run_id"])
    return json.loads((project / "seen.json").read_text()), kept


def test_defaults_and_values_are_passed_and_kept_by_their_text(project: Path, cli: Cli) -> None:
    seen, kept = run(cli, project, "-P", 'text=it\'s "x"', "-P", "zeta=1e3", "-P", "count=007")
    assert seen == [
        *["it's \"x\""] * 3, "--count=007", "1e-05", "true", str(project / "data/d.csv"), "https://example.org/d.csv",
        "--zeta", "1e3",
    ]  # fmt: skip
    assert kept == {
        "text": "it's \"x\"", "count": "007", "rate": "1e-05", "shuffle": "true", "data": "data/d.csv",
        "source": "https://example.org/d.csv", "zeta": "1e3",
    }  # fmt: skip


def test_a_given_path_is_relative_to_the_caller_and_kept_as_it_was_given(project: Path, cli: Cli) -> None:
    Path("mine.csv").touch()
    seen, kept = run(cli, project, "-P", "text=", "-P", "data=mine.csv")
    assert (seen[6], kept["data"]) == (str(Path("mine.csv").absolute()), "mine.csv")


def test_a_path_elsewhere_is_fetched_for_the_time_of_the_run(project: Path, cli: Cli, index: LocalIndex) -> None:
    (index.root / "d.csv").write_text("a,b")
    url = f"http://{index.host}/d.csv"
    seen, kept = run(cli, project, "-P", "text=x", "-P", f"data={url}")
    assert (seen[6].rpartition("/")[2], kept["data"]) == ("d.csv", url)
    assert not os.path.exists(seen[6])


def test_with_a_storage_directory_it_stays(project: Path, cli: Cli, index: LocalIndex) -> None:
    (index.root / "d.csv").write_text("a,b")
    url = f"http://{index.host}/d.csv"
    seen, _ = run(cli, project, "-P", "text=x", "-P", f"data={url}", "--storage-dir", "kept/here")
    assert Path(seen[6]).parent.parent.parent == Path("kept/here").absolute()
    assert Path(seen[6]).read_text() == "a,b"


def test_what_cannot_be_fetched_leaves_no_run(project: Path, cli: Cli, index: LocalIndex) -> None:
    done = cli("run", str(project), "-P", "text=x", "-P", f"data=http://{index.host}/gone.csv", code=5)
    assert "gone.csv` cannot be read (HTTP 404)" in done.stderr
    assert not Path("mlruns").exists()


@pytest.mark.parametrize("value", ["count=1e3", "rate=half", "shuffle=maybe"])
def test_a_value_of_another_type_is_refused_or_taken_where_types_are_lenient(
    value: str, project: Path, cli: Cli
) -> None:
    args = ("run", str(project), "--no-snapshot", "-P", "text=x", "-P", value)
    assert "`--lenient-types` takes" in cli(*args, code=2).stderr
    assert not Path("mlruns").exists()
    cli(*args, "--lenient-types")


def test_a_script_in_r_is_run_by_rscript(
    project: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "train.R").touch()
    monkeypatch.setenv("PATH", os.defpath)
    args = ("run", str(project), "-e", "train.R", "-P", "alpha=0.5", "--no-snapshot")
    if shutil.which("Rscript") is None:
        assert "`train.R` needs `Rscript`, which is not on PATH" in cli(*args, code=2).stderr
    (tmp_path / "bin").mkdir()
    rscript = tmp_path / "bin" / "Rscript"
    rscript.write_text('#!/bin/sh\necho "$@"\n')
    rscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{rscript.parent}:{os.defpath}")
    assert cli(*args).stdout == "train.R --alpha 0.5\n"
