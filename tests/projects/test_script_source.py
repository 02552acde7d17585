"""Run scripts with their own command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, TestEnvironment
from readable_store import ReadableStore

import repro

ARGPARSE = """\
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--l1-ratio", type=float, default=0.1)
parser.add_argument("--fast", action="store_true")
print(vars(parser.parse_args()))
"""


@pytest.fixture(autouse=True)
def python(environment: TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)


def source(cli: Cli, *args: str) -> tuple[str, dict[str, str]]:
    """Return what a script printed and the parameters of its run."""
    done = cli("source", "--json", "--no-snapshot", "--no-observe", *args)
    run_id = json.loads(done.stdout)["run_id"]
    return done.stderr, ReadableStore(Path("mlruns")).read_params(run_id)


def test_source_equals_run_with_the_same_parameters(cli: Cli) -> None:
    Path("train.py").write_text("import repro\nrepro.log_metric('rate', repro.param('rate', 0.5))\n")
    store = ReadableStore(Path("mlruns"))
    sourced, run = (
        json.loads(cli(*words).stdout)
        for words in (
            ("source", "--json", "train.py", "--rate", "1e-3"),
            ("run", ".", "-e", "train.py", "-P", "rate=1e-3", "--json"),
        )
    )
    assert sourced["digest"] == run["digest"]
    for read in (store.read_params, store.read_metrics, store.list_files):
        assert read(sourced["run_id"]) == read(run["run_id"])
    tags = [store.read_tags(each["run_id"]) for each in (sourced, run)]
    assert [each["mlflow.project.entryPoint"] for each in tags] == ["train.py"] * 2
    assert tags[0]["mlflow.source.name"] == tags[1]["mlflow.source.name"]


def test_a_script_with_argparse_works_unchanged(cli: Cli) -> None:
    Path("train.py").write_text(ARGPARSE)
    said, params = source(cli, "train.py", "--fast", "a b.csv", "--l1-ratio=0.3")
    assert "{'file': 'a b.csv', 'l1_ratio': 0.3, 'fast': True}" in said
    assert params == {"fast": "true", "l1_ratio": "0.3"}


def test_a_script_that_reads_the_words_itself_gets_them_as_they_are(cli: Cli) -> None:
    Path("train.py").write_text("import sys\nprint(sys.argv[1:])\n")
    words = ["--args", "-x", "$HOME; rm 'a'", "--name", "two\nlines", "", "--json", "--last"]
    said, params = source(cli, "train.py", *words)
    assert repr(words[1:]) in said
    assert params == {"name": "two\nlines", "json": "true", "last": "true"}


def test_a_shell_script_is_sourced_too(cli: Cli) -> None:
    Path("train.sh").write_text('echo "got $1 $2"\n')
    said, params = source(cli, "train.sh", "--alpha", "0.5")
    assert "got --alpha 0.5" in said
    assert params == {"alpha": "0.5"}


def test_the_exit_code_is_the_scripts(cli: Cli) -> None:
    Path("train.py").write_text("import sys\nsys.exit(7)\n")
    cli("source", "--no-snapshot", "--no-observe", "train.py", code=7)
    assert not Path("requirements-lock.txt").exists()


def test_nothing_is_run_where_a_parameter_has_no_value(cli: Cli) -> None:
    Path("train.py").write_text("import repro\nopen('made', 'w')\nrepro.param('rate', 0.5)\n")
    done = cli("source", "train.py", "--rate", code=2)
    assert "the parameter `rate` has no value behind `--rate`" in done.stderr
    assert not Path("made").exists()
    assert not Path("mlruns").exists()


def test_a_script_is_sourced_from_python(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("train.py").write_text("import sys\nprint(sys.argv[1:])\n")
    result = repro.source("train.py", ["--alpha", "1"], snapshot=False, observe=False, cache=tmp_path / "cache")
    assert result.exit_code == 0
    assert "['--alpha', '1']" in capfd.readouterr().out
