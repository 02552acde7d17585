"""The experiment that a script chooses in its code."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli

from repro.projects.own_experiment import parse_experiment
from repro.tracking.client import Client


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ('import mlflow\nmlflow.set_experiment("wine")\n', "wine"),
        ('set_experiment(experiment_name="wine")\n', "wine"),
        ('NAME = "wine"\ndef main():\n    mlflow.set_experiment(NAME)\n', "wine"),
        ('mlflow.set_experiment("a")\nmlflow.set_experiment("a")\n', "a"),
        ('mlflow.set_experiment("a")\nmlflow.set_experiment("b")\n', None),
        ('NAME = "a"\nNAME = input()\nmlflow.set_experiment(NAME)\n', None),
        ("mlflow.set_experiment(args.name)\n", None),
        ("mlflow.set_experiment(name)\n", None),
        ("mlflow.set_experiment(experiment_id=3)\n", None),
        ("mlflow.set_experiment(7)\n", None),
        ('mlflow.set_experiment(" ")\n', None),
        ("# mlflow.set_experiment('wine')\n", None),
        ("mlflow.set_experiment(\n", None),
        (
            "x = '\\d'\nmlflow.set_experiment('wine')\n",
            "wine",
        ),  # a warning of somebody else's, which pytest would raise
        (f"{'(' * 5000}mlflow.set_experiment('wine'){')' * 5000}", None),
        ("print()\n", None),
    ],
)
def test_one_name_that_is_written_out_is_the_experiment(code: str, name: str | None) -> None:
    assert parse_experiment(code.encode()) == name


def test_a_run_is_kept_where_its_script_says_unless_somebody_says_otherwise(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(
        "import os\n"
        "def set_experiment(name):\n"
        "    print('id', os.environ['MLFLOW_EXPERIMENT_ID'])\n"
        "NAME = 'wine'\n"
        "set_experiment(NAME)\n"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    args = ("run", str(tmp_path), "-e", "train.py")
    said = cli(*args)
    wine = Client(tmp_path / "mlruns").get_experiment_by_name("wine")
    assert wine is not None
    assert f"id {wine.experiment_id}\n" in said.stdout
    assert "the run is kept in the experiment `wine`, which `train.py` chooses" in said.stderr
    assert f"id {wine.experiment_id}\n" not in cli(*args, "--experiment", "other").stdout
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert "id 0\n" in cli(*args).stdout
