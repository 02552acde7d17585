"""The examples of the documentation run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, TestEnvironment
from layout import make_run, write_experiment, write_run
from lending import lend

from repro.formats.run_meta import RunStatus
from repro.tracking.entities import Dataset, RunQuery
from repro.tracking.file_store import FileStore

EXAMPLE = re.compile(r"^\$ repro (.*)$", re.MULTILINE)


def test_the_examples_of_the_commands_run_in_their_order(
    environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    Path("project").mkdir()
    Path("project", "train.py").write_text("import alpha, repro\nrepro.log_metric('rate', repro.param('rate', 0.5))\n")
    Path("project", "tracked.py").write_text("# !source repro.run(rate=0.2)\nimport repro\nrepro.param('rate', 0.5)\n")
    examples = EXAMPLE.findall((REPOSITORY / "docs" / "commands.md").read_text())
    assert len(examples) == 42
    for example in examples:
        cli(*shlex.split(example))


def test_every_clause_of_the_page_on_searching_finds_the_run_that_it_is_about(tmp_path: Path) -> None:
    wine = Dataset(name="wine", digest="1", source_type="local", source="{}")
    run = make_run(
        1, name="it's", metrics={"accuracy": 0.95, "val/accuracy": 0.9}, params={"model": "tree", "lr": "0.2"},
        tags={"mlflow.source.name": "src/train.py"}, datasets=(wine,), start_time_ms=1_700_000_000_001,
    )  # fmt: skip
    other = make_run(2, tags={"team": "red"}, status=RunStatus.RUNNING)
    write_experiment(tmp_path, "0", "Default")
    for each in (run, other):
        write_run(tmp_path, each)
    section = (REPOSITORY / "docs" / "tracking.md").read_text().split("## Searching")[1].split("\n## ")[0]
    clauses = re.findall(r"^\| `(.+?)` \| ", section, re.MULTILINE)
    assert len(clauses) == 13
    for clause in clauses:
        text = clause.replace("0123456789abcdef0123456789abcdef", run.run_id)
        found = FileStore(tmp_path).search_runs(RunQuery(experiment_ids=("0",), filter=text))
        assert [each.run_id for each in found] == [run.run_id], text


@pytest.mark.parametrize("page", [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md"])
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_documented_commands_are_the_ones_there_are(cli: Cli) -> None:
    text = (REPOSITORY / "docs" / "commands.md").read_text()
    for line in cli("--help").stdout.split("commands:")[1].split("\n\n")[0].strip().splitlines():
        assert f"repro {line.split()[0]}" in text


def test_the_script_of_the_tracking_page_runs(tmp_path: Path) -> None:
    (code,) = re.findall(
        r"^## In a script\n\n```python\n(.*?)^```", (REPOSITORY / "docs" / "tracking.md").read_text(), re.M | re.S
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    run_id, alpha = done.stdout.split()
    assert (len(run_id), alpha) == (32, "0.5")


@pytest.mark.index
def test_the_script_of_the_models_page_runs(science: TestEnvironment, tmp_path: Path) -> None:
    (code,) = re.findall(
        r"^## Saving\n\n```python\n(.*?)^```", (REPOSITORY / "docs" / "models.md").read_text(), re.M | re.S
    )
    (tmp_path / "script.py").write_text(code)
    environ = {**os.environ, **lend(science), "MLFLOW_SNAPSHOT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [science.python, "script.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    uri, crate, *_ = done.stdout.splitlines()
    (model,) = tmp_path.glob(f"mlruns/0/{uri.split('/')[1]}/artifacts/model")
    for directory in (tmp_path / "flowers", tmp_path / "likely", model):
        assert {"MLmodel", "requirements-lock.txt", "code"} <= {path.name for path in directory.iterdir()}
    assert crate.startswith("<crate ")
