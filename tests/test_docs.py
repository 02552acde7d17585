"""The examples of the documentation run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli, TestEnvironment

EXAMPLE = re.compile(r"^\$ repro (.*)$", re.MULTILINE)


def test_the_examples_of_the_commands_run_in_their_order(
    environment: TestEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_PYTHON_BIN", environment.python)
    Path("project").mkdir()
    Path("project", "train.py").write_text("import alpha, repro\nrepro.log_metric('rate', repro.param('rate', 0.5))\n")
    examples = EXAMPLE.findall((REPOSITORY / "docs" / "commands.md").read_text())
    assert len(examples) == 24
    for example in examples:
        cli(*shlex.split(example))


@pytest.mark.parametrize("page", [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md"])
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_documented_commands_are_the_ones_there_are(cli: Cli) -> None:
    text = (REPOSITORY / "docs" / "commands.md").read_text()
    for line in cli("--help").stdout.split("commands:")[1].split("\n\n")[0].strip().splitlines():
        assert f"repro {line.split()[0]}" in text
