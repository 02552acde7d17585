"""Models in their own environment beside the same models loaded there directly."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benches.home import BIN, HOME, ROOT, read_output, run
from benches.measure import describe_aim

MAKE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy, repro
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
rows = numpy.random.default_rng(1).random((2000, 20))
class Counter:
    def predict(self, data):
        return len(data)
for name, model in (("linear", LinearRegression()), ("forest", RandomForestRegressor(100, random_state=1))):
    repro.save_model(model.fit(rows, rows.sum(axis=1)), name, input_example=rows[:2], overwrite=True)
repro.save_model(Counter(), "counter", overwrite=True)
"""
ASK = """
def ask(model, count):
    import statistics, time
    import numpy
    row, times = numpy.random.default_rng(2).random((1, 20)), []
    for _ in range(count):
        began = time.perf_counter()
        model.predict(row)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3
import json, sys, time
"""
DIRECTLY = """
began = time.perf_counter()
sys.path.insert(0, sys.argv[1] + "/code")
import importlib, pathlib
name = next(pathlib.Path(sys.argv[1], "code").glob("*.py")).stem
model = importlib.import_module(name)._load_pyfunc(sys.argv[1])
print(json.dumps({"load_s": time.perf_counter() - began, "call_ms": ask(model, 300)}))
"""
RESTORED = """
import repro
began = time.perf_counter()
model = repro.load_model(sys.argv[1], restore=True)
print(json.dumps({"load_s": time.perf_counter() - began, "call_ms": ask(model, 300)}))
"""
MANY = """
import json, time, numpy, repro
rows, rates = numpy.random.default_rng(3).random((1_000_000, 20)), []
with repro.load_model("counter", restore=True) as model:
    for _ in range(7):
        began = time.perf_counter()
        assert model.predict(rows) == len(rows)
        rates.append(rows.nbytes / (time.perf_counter() - began) / 1e9)
print(json.dumps(rates))
"""


def _make_caller() -> Path:
    """Make the environment of who loads: repro and numpy, without the models' libraries."""
    caller = HOME / "caller"
    if not (caller / "complete").exists():
        run(BIN / "uv", "venv", "-q", "--clear", caller)
        run(BIN / "uv", "pip", "install", "-q", "--python", caller / "bin/python", "numpy", "-e", ROOT)
        (caller / "complete").touch()
    return caller / "bin" / "python"


def bench_models(project: Path, rounds: int) -> None:
    """Measure a call of one row, a call of a million, and loading where the environment is ready."""
    science, caller = HOME / "science" / "bin" / "python", _make_caller()
    run(BIN / "uv", "pip", "install", "-q", "--python", science, "pyyaml", "cloudpickle")
    directory = HOME / "models"
    directory.mkdir(exist_ok=True)
    run(science, "-W", "ignore", "-c", MAKE, ROOT, cwd=directory)
    print("\nmodels, medians of medians of 300 calls of one row, and of loads")
    for name in ("linear", "forest"):
        run(BIN / "repro", "restore", directory / name)
        found: dict[str, list[dict[str, float]]] = {"directly": [], "restored": []}
        for _ in range(rounds):
            for way, python, code in (("directly", science, DIRECTLY), ("restored", caller, RESTORED)):
                found[way].append(json.loads(read_output(python, "-c", ASK + code, name, cwd=directory)))
        load, call = (
            {way: statistics.median(each[key] for each in runs) for way, runs in found.items()}
            for key in ("load_s", "call_ms")
        )
        print(f"  {name}: load {load['directly']:.3f} s there, {load['restored']:.3f} s restored")
        print(f"  {name}: call {call['directly']:.3f} ms there, {call['restored']:.3f} ms restored")
        print(describe_aim(f"{name}: load_model over loading there", load["restored"] / load["directly"], 1.2, "x"))
        print(describe_aim(f"{name}: a call over one there", call["restored"] - call["directly"], 0.3, " ms"))
    run(BIN / "repro", "restore", directory / "counter")
    rates = json.loads(read_output(caller, "-c", MANY, cwd=directory))
    median = statistics.median(rates)
    print(f"  1,000,000 x 20 float64: {median:.2f} GB/s (first {rates[0]:.2f}; aim over 1.00)")
