from __future__ import annotations

from pathlib import Path

import pytest

from repro.formats.mlproject import EntryPoint
from repro.projects.env_manager import find_script


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python train.py", "train.py"),
        ("python3 'train.py' {alpha} | tee log", "train.py"),
        ("python -u train.py --rate $RATE", "train.py"),
        ("python -m train", "train.py"),
        ("python -um pack.part --alpha {alpha}", "pack/part.py"),
        ("python -m pack", "pack/__main__.py"),
        ("env | grep MLFLOW && \\\n  python train.py", "train.py"),
        ("RATE=1 python train.py", "train.py"),
        ("ls; python train.py", "train.py"),
        ("python -m pip install x", None),
        ("python -m {module}", None),
        ("python -m", None),
        ("python -c 'import x' train.py", None),
        ("python - train.py", None),
        ("python gone.py", None),
        ("python train", None),
        ("echo python train.py", None),
        ("cd pack && python train.py", None),
        ("pip install x && python train.py", None),
        ("true || python train.py", None),
        ("/usr/bin/python3 train.py", None),
        ("python 'train.py", None),
    ],
)
def test_the_script_that_a_command_surely_runs_is_found(command: str, script: str | None, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    for name in ("train.py", "pack/part.py", "pack/__main__.py"):
        (tmp_path / name).touch()
    found = find_script(tmp_path, EntryPoint(name="main", command=command))
    assert (str(found) if found else None) == script
