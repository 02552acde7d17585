"""Load a model that repro has saved: `_load_pyfunc(directory)`, as MLflow's python_function wants it.

A copy of this file lies in each model, below `code/`, and needs nothing of repro. What the model is stands beside its
files in `flavor.json`. Python 3.8, standard library and the model's own.
"""

import importlib
import inspect
import json
import os


class _Model:
    """A model with MLflow's `predict(data, params)`; what it cannot do itself, the native one does."""

    def __init__(self, native, predict):
        self.input = None
        self._native = native
        self._predict = predict
        self._takes_params = _takes_params(predict)

    def get_raw_model(self):
        """Return the native model."""
        return self._native

    def predict(self, data, params=None):
        """Ask the model; `params` go to what takes them.

        A table that MLflow has made of a list or a series becomes that again.
        """
        if self.input and _is_frame(data) and data.shape[1] == 1:
            data = data.iloc[:, 0] if self.input == "series" else data.iloc[:, 0].tolist()
        if not params:
            return self._predict(data)
        return self._predict(data, params=params) if self._takes_params else self._predict(data, **params)


def _takes_params(function):
    try:
        return "params" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _is_frame(data):
    return hasattr(data, "to_numpy") and hasattr(data, "columns")


def _unpickle(path, serialization):
    try:
        loader = importlib.import_module("cloudpickle" if serialization == "cloudpickle" else "pickle")
    except ImportError as error:
        raise ImportError("the model was saved with cloudpickle: pip install cloudpickle") from error
    with open(path, "rb") as file:
        return loader.load(file)


def _load_estimator(path, flavor):
    """Return an estimator; of a skops file only the types that were found in it when it was saved are made."""
    serialization = flavor.get("serialization_format", "pickle")  # MLflow's first releases wrote no other
    if serialization == "skops":
        return importlib.import_module("skops.io").load(path, trusted=list(flavor.get("skops_trusted_types") or []))
    return _unpickle(path, serialization)


def _load_sklearn(directory, flavor):
    native = _load_estimator(os.path.join(directory, flavor["pickled_model"]), flavor)
    for name in (flavor.get("predict_fn") or "predict", "transform", "fit_predict"):
        if callable(getattr(native, name, None)):
            return _Model(native, getattr(native, name))
    raise AttributeError("a %s can neither predict nor transform" % type(native).__name__)


def _load_xgboost(directory, flavor):
    xgboost = importlib.import_module("xgboost")
    module, _, name = (flavor.get("model_class") or "xgboost.core.Booster").rpartition(".")
    if module.partition(".")[0] != "xgboost":
        raise ValueError("`%s.%s` is no class of xgboost" % (module, name))
    native = getattr(importlib.import_module(module), name)()
    native.load_model(os.path.join(directory, flavor["data"]))
    if not isinstance(native, xgboost.Booster):
        return _Model(native, native.predict)
    return _Model(native, lambda data, **options: native.predict(xgboost.DMatrix(data), **options))


def _load_lightgbm(directory, flavor):
    """Return a booster from its own text, whatever format MLflow names beside it, or an estimator."""
    path = os.path.join(directory, flavor["data"])
    if flavor.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        native = importlib.import_module("lightgbm").Booster(model_file=path)
    else:
        native = _load_estimator(path, flavor)
    return _Model(native, native.predict)


def _load_python_object(directory, flavor):
    native = _unpickle(os.path.join(directory, flavor["data"]), flavor["serialization_format"])
    return _Model(native, native.predict)


def _load_repro_crate(directory, flavor):
    native = _unpickle(os.path.join(directory, flavor["data"]), "cloudpickle")
    return _Model(native, native)


def _read_torch(directory, flavor):
    torch = importlib.import_module("torch")
    path = os.path.join(directory, flavor["model_file"])
    if flavor["serialization_format"] == "pt2":
        return torch.export.load(path).module()
    if flavor["serialization_format"] == "torchscript":
        native = torch.jit.load(path, map_location="cpu")
    else:
        native = torch.load(path, map_location="cpu", weights_only=False)
    native.eval()
    return native


def _from_tensor(value):
    if isinstance(value, dict):
        return {key: _from_tensor(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_from_tensor(each) for each in value]
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _load_pytorch(directory, flavor):
    torch = importlib.import_module("torch")
    native = _read_torch(directory, flavor)
    dtype = getattr(torch, flavor.get("input_dtype") or "float32")

    def make_tensor(value):
        tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def predict(data, params=None):
        if _is_frame(data):
            data = data.to_numpy(dtype="float64")
        with torch.no_grad():
            if isinstance(data, dict):
                made = {str(name): make_tensor(value) for name, value in data.items()}
                return _from_tensor(native(**made, **(params or {})))
            return _from_tensor(native(make_tensor(data), **(params or {})))

    return _Model(native, predict)


# What onnxruntime calls the types of its inputs, by numpy's names.
_ONNX_TYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool", "string": "object",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip


def _feed(data, inputs):
    """Return what an ONNX session is given: one matrix, an array of each name, or each column as a column."""
    numpy = importlib.import_module("numpy")
    types = {each.name: _ONNX_TYPES.get(each.type[7:-1]) for each in inputs}
    if _is_frame(data):
        if len(inputs) == 1:
            data = {inputs[0].name: data.to_numpy()}
        else:
            data = {name: data[name].to_numpy().reshape(-1, 1) for name in types}
    elif not isinstance(data, dict):
        data = {inputs[0].name: data}
    missing = [name for name in types if name not in data]
    if missing:
        raise ValueError("the model wants inputs that were not given: %s" % ", ".join(missing))
    return {name: numpy.asarray(data[name], dtype=kind) for name, kind in types.items()}


def _load_onnx(directory, flavor):
    onnxruntime = importlib.import_module("onnxruntime")
    there = onnxruntime.get_available_providers()
    wanted = [each for each in flavor.get("providers") or [] if each in there]
    native = onnxruntime.InferenceSession(os.path.join(directory, flavor["data"]), providers=wanted or there)
    names = [each.name for each in native.get_outputs()]

    def predict(data, params=None):
        results = native.run(names, _feed(data, native.get_inputs()))
        return results[0] if len(results) == 1 else dict(zip(names, results))  # Python 3.8

    return _Model(native, predict)


_LOADERS = {
    "sklearn": _load_sklearn,
    "xgboost": _load_xgboost,
    "lightgbm": _load_lightgbm,
    "pytorch": _load_pytorch,
    "onnx": _load_onnx,
    "repro_crate": _load_repro_crate,
    "python_object": _load_python_object,
}


def load_flavor(directory, name, flavor):
    """Return the model in a directory as one of its flavors, by the flavor's own keys."""
    model = _LOADERS[name](directory, flavor)
    model.input = flavor.get("input")
    return model


def _load_pyfunc(directory):
    """Return the model in a directory, with `predict` and `get_raw_model`."""
    with open(os.path.join(directory, "flavor.json"), encoding="utf-8") as file:
        flavor = json.load(file)
    return load_flavor(directory, flavor["flavor"], flavor)
