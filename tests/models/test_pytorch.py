"""Modules of PyTorch: exported, scripted, and pickled at the last, and MLflow loads each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, TestEnvironment, make_once

pytestmark = [
    pytest.mark.torch,
    pytest.mark.index,
    pytest.mark.skipif(not os.environ.get("REPRO_TEST_ALL"), reason="REPRO_TEST_ALL is not set: PyTorch is large"),
]

SAVE = """
import sys; sys.path.insert(0, sys.argv[1])
import json, pickle, warnings
import numpy as np, torch
import repro

warnings.simplefilter("error")
torch.manual_seed(0)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.drop = torch.nn.Linear(3, 2), torch.nn.Dropout(0.5)

    def forward(self, x):
        return torch.softmax(self.drop(self.line(x)), 1)

class Odd(Net):
    def forward(self, x):
        import json
        json.dumps({"sum": float(x.sum())})     # what neither an export nor a script can hold
        return self.line(x)

numbers = np.random.default_rng(0).random((5, 3))
net, odd, double = Net(), Odd(), Net().double()
cases = {"one_row": (net, numbers[:1], "pt2"), "tensor": (net, torch.tensor(numbers[:3]).float(), "pt2"),
         "double": (double, numbers[:2], "pt2"), "scripted": (net, None, "torchscript"),
         "odd": (odd, numbers[:2], "pickle")}
wanted = {}
for name, (module, example, serialization) in cases.items():
    repro.save_model(module, name, input_example=example)
    assert module.training                      # as it was before
    with open(f"{name}/flavor.json") as file:
        assert json.load(file)["serialization_format"] == serialization, name
    module.eval()
    with torch.no_grad():
        wanted[name] = module(torch.tensor(numbers).to(module.line.weight.dtype)).numpy()
    module.train()
with open("wanted.pkl", "wb") as file:
    pickle.dump((numbers, wanted), file)
"""
LOAD = """
import pickle, sys, warnings
import numpy as np, mlflow, torch

warnings.simplefilter("ignore")
with open("wanted.pkl", "rb") as file:
    numbers, wanted = pickle.load(file)
for name, expected in wanted.items():
    model = mlflow.pyfunc.load_model(name)
    single = model.metadata.signature and model.metadata.signature.inputs.inputs[0].type == np.float32
    data = numbers.astype("float32") if single else numbers
    assert np.array_equal(model.predict(data), expected), name
    assert model.predict(data[:1]).shape == (1, 2), name
    assert isinstance(mlflow.pytorch.load_model(name), torch.nn.Module)
assert "repro" not in sys.modules
print(len(wanted))
"""


@pytest.fixture(scope="session")
def pytorch() -> TestEnvironment:
    """PyTorch for the CPU where pip finds it at hand, with MLflow."""
    return make_once("torch", "torch==2.13.0", "mlflow==3.17.2", with_pip=True)


def test_a_module_is_exported_scripted_or_pickled_and_mlflow_loads_it(pytorch: TestEnvironment, tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "MLFLOW_SNAPSHOT_CACHE": str(tmp_path / "cache")}
    for script, args, said in ((SAVE, [str(REPOSITORY)], ""), (LOAD, [], "5\n")):
        (tmp_path / "script.py").write_text(script)
        done = subprocess.run(
            [pytorch.python, "script.py", *args], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, said), done.stderr
