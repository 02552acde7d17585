"""The light half for models in bare virtual environments: repro and yaml are lent, and nothing else is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from lending import REPOSITORY, find_pythons

SCRIPT = """\
import os, sys
sys.path.insert(0, sys.argv[1])
import repro

class Model:
    def predict(self, data):
        return data

class Named(Model):
    __module__ = "model"
    __qualname__ = "Named"

sys.modules["model"] = sys.modules["__main__"]
FACTOR = 3

def outer(x):
    def inner(y: Model = None) -> Named:
        return FACTOR * x
    return inner(), [int(each) for each in os.environ]

try:
    repro.crate(outer)
except repro.ReproError as error:
    print([line.split()[0] for line in error.details if "Model" not in line and "Named" not in line])
print(repro.infer_signature({"a": [1, 2]}, [0.5]).inputs[0].type)
try:
    repro.save_model(Named(), input_example=[1, 2])
except repro.ReproError as error:
    print(error.hint)
print(os.listdir("."))
print(sorted({"packaging", "yaml", "rich", "filelock", "virtualenv", "numpy"} & set(sys.modules)))
"""


@pytest.mark.parametrize("python", find_pythons())
def test_models_need_the_standard_library_alone_until_yaml_is_written(python: str, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    command = [str(tmp_path / "bare" / "bin" / "python"), "-c", SCRIPT, str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "work", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['`os`', '`FACTOR`']\nlong\npip install pyyaml\n[]\n[]\n"
