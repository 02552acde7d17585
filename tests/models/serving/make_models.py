"""Make the models that the tests serve: make_models.py DIRECTORY, in an environment with scikit-learn and pandas."""

import json
import pickle
import sys
from pathlib import Path

import numpy
import pandas
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

ROOT = Path(sys.argv[1])
ODD = """
import datetime, os, sys, time
import numpy, pandas

class Odd:
    def predict(self, data, params=None):
        if not isinstance(data, pandas.DataFrame):
            return {"type": type(data).__name__, "shape": list(getattr(data, "shape", []))}
        deed = data["deed"].iloc[0]
        if deed == "print": print("a model may say things", flush=True)
        if deed == "raise": raise KeyError("what it raises")
        if deed == "exit": sys.exit(3)
        if deed == "die": os._exit(9)
        if deed == "sleep": time.sleep(60)
        if deed == "series": return pandas.Series([1.5] * len(data), name="rate")
        if deed == "frame":
            day = pandas.Timestamp("2026-01-02")
            return pandas.DataFrame({"when": [day] * len(data), "n": numpy.arange(len(data)), "t": ["x"] * len(data)})
        if deed == "nothing": return object()
        if deed == "params": return [params] * len(data)
        return numpy.array([str(each) for each in data["deed"]])

def _load_pyfunc(path):
    return Odd()
"""


def write(name, flavors, *, signature=None, example=None):
    directory = ROOT / name
    directory.mkdir(parents=True, exist_ok=True)
    content = {"flavors": flavors}
    if signature:
        content["signature"] = {key: json.dumps(value) for key, value in signature.items()}
    if example:
        content["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": "dataframe"}
        (directory / "input_example.json").write_text(json.dumps(example))
    (directory / "MLmodel").write_text(json.dumps(content))
    return directory


def write_fitted(name, model, **more):
    function = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"}
    own = {"pickled_model": "model.pkl", "serialization_format": "pickle"}
    directory = write(name, {"python_function": function, "sklearn": own}, **more)
    (directory / "model.pkl").write_bytes(pickle.dumps(model))
    return directory


choose = numpy.random.default_rng(1)
rows = choose.random((60, 3))
frame = pandas.DataFrame(rows, columns=["a", "b", "c"])
labels = numpy.where(rows.sum(axis=1) > 1.5, "high", "low")
linear = LinearRegression().fit(rows, rows @ [1.0, 2.0, 3.0] + 0.5)
forest = RandomForestClassifier(10, random_state=1).fit(frame, labels)
write_fitted("linear", linear)
columns = [{"type": "double", "name": name, "required": True} for name in "abc"]
write_fitted(
    "forest", forest, signature={"inputs": columns, "outputs": [{"type": "string"}]},
    example={"columns": ["a", "b", "c"], "data": rows[:2].tolist()},
)  # fmt: skip
odd = write(
    "odd", {"python_function": {"loader_module": "odd_loader", "code": "code"}},
    signature={"inputs": [{"type": "string", "name": "deed"}],
               "params": [{"name": "k", "type": "long", "default": 1, "shape": None}]},
)  # fmt: skip
adder = write(
    "adder", {"python_function": {"loader_module": "adder_loader", "code": "code"}},
    signature={"inputs": [*columns, {"type": "long", "name": "n"}, {"type": "string", "name": "s", "required": False}]},
)  # fmt: skip
(adder / "code").mkdir(exist_ok=True)
(adder / "code" / "adder_loader.py").write_text(
    "class Adder:\n    def predict(self, data):\n        return data[['a', 'b', 'c']].sum(axis=1).to_numpy()\n\n"
    "def _load_pyfunc(path):\n    return Adder()\n"
)
(odd / "code").mkdir(exist_ok=True)
(odd / "code" / "odd_loader.py").write_text(ODD)
write_fitted("broken", linear).joinpath("model.pkl").write_bytes(b"no pickle")
answers = {"linear": linear.predict(rows[:20]).tolist(), "forest": forest.predict(frame[:20]).tolist()}
(ROOT / "expected.json").write_text(json.dumps({"rows": rows[:20].tolist(), **answers}))
