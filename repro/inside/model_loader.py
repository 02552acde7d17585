"""Load a model directory in the environment that it needs: `load(directory, description)`.

The description is what the MLmodel says of flavors, as JSON, for the environment may read no YAML. A flavor's own files
are read with its library alone where that can be done; everything else as its python_function says, whose loader of
MLflow's needs MLflow. Python 3.8, standard library and the model's own.
"""

import importlib
import inspect
import os
import sys


class Model:
    """A model: `predict` as MLflow's python_function has it, and `native`, whose other methods are called by name."""

    def __init__(self, native, predict=None):
        self.native = native
        self._predict = predict or native.predict
        self._takes_params = _takes_params(self._predict)

    def predict(self, *args, **kwargs):
        """Ask the model; `params` go to what takes them."""
        if not self._takes_params and kwargs.get("params", True) is None:
            del kwargs["params"]
        return self._predict(*args, **kwargs)

    def find(self, name):
        """Return an attribute of the model. Raises AttributeError."""
        if name == "predict":
            return self.predict
        return getattr(self.native, name)


def _takes_params(function):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(each.name == "params" or each.kind is each.VAR_KEYWORD for each in parameters)


def _load_sklearn(directory, flavor, function):
    path = os.path.join(directory, flavor["pickled_model"])
    serialization = flavor.get("serialization_format", "pickle")
    if serialization == "skops":
        native = importlib.import_module("skops.io").load(path, trusted=flavor.get("skops_trusted_types") or [])
    else:
        loader = importlib.import_module("cloudpickle" if serialization == "cloudpickle" else "pickle")
        with open(path, "rb") as file:
            native = loader.load(file)
    return Model(native, getattr(native, function.get("predict_fn") or "predict", None) or _transform(native))


def _transform(native):
    """Return what stands for `predict` of a model that has none, such as a scaler."""
    return getattr(native, "transform", None) or getattr(native, "fit_predict")


def _load_xgboost(directory, flavor, function):
    xgboost = importlib.import_module("xgboost")
    path = os.path.join(directory, flavor["data"])
    module, _, name = str(flavor.get("model_class") or "xgboost.core.Booster").rpartition(".")
    if module.split(".")[0] != "xgboost":
        raise ValueError("`%s.%s` is no class of xgboost" % (module, name))
    native = getattr(importlib.import_module(module), name)()
    native.load_model(path)
    if isinstance(native, xgboost.Booster):
        return Model(native, lambda data, **options: native.predict(xgboost.DMatrix(data), **options))
    return Model(native)


def _load_lightgbm(directory, flavor, function):
    lightgbm = importlib.import_module("lightgbm")
    return Model(lightgbm.Booster(model_file=os.path.join(directory, flavor["data"])))


def _load_function(directory, flavor, function):
    """Load what python_function says, in MLflow's way."""
    data = function.get("data") or function.get("model_path")
    path = os.path.join(directory, data) if data else directory
    wrapper = importlib.import_module(function["loader_module"])._load_pyfunc(path)
    return Model(_find_native(wrapper), wrapper.predict)


def _find_native(wrapper):
    """Return what a wrapper of MLflow's holds, else itself."""
    try:
        raw = wrapper.get_raw_model()
    except Exception:  # MLflow 2.x has none, and some wrappers hold nothing
        return wrapper
    return wrapper if raw is None else raw


def _is_native_lightgbm(flavor):
    return str(flavor.get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster" and "data" in flavor


def choose(flavors, wanted=None):
    """Return the name of the flavor that is loaded: the one wanted, else the safest that is known here.

    Raises ValueError where there is none.
    """
    native = {
        "sklearn": lambda flavor: "pickled_model" in flavor,
        "xgboost": lambda flavor: "data" in flavor,
        "lightgbm": _is_native_lightgbm,
    }
    known = [name for name, fits in native.items() if name in flavors and fits(flavors[name])]
    if "loader_module" in flavors.get("python_function", {}):
        known.append("python_function")
    if wanted and wanted not in known:
        raise ValueError("the model has no flavor `%s` that can be loaded, only: %s" % (wanted, ", ".join(known)))
    if not known:
        raise ValueError("none of the model's flavors can be loaded: %s" % ", ".join(sorted(flavors)))
    return wanted or known[0]


_LOADERS = {
    "sklearn": _load_sklearn,
    "xgboost": _load_xgboost,
    "lightgbm": _load_lightgbm,
    "python_function": _load_function,
}


def load(directory, description):
    """Return the Model in a directory; `description` has `flavors` and the one that is wanted, `flavor`."""
    flavors = description["flavors"]
    function = flavors.get("python_function", {})
    name = choose(flavors, description.get("flavor"))
    code = function.get("code") or flavors.get(name, {}).get("code")
    if code:
        place = os.path.join(directory, code)
        if place not in sys.path:
            sys.path.insert(0, place)
    return _LOADERS[name](directory, flavors.get(name, {}), function)
