"""Load a model directory in the environment that it needs: `load(directory, description)`.

The description is what the MLmodel says, as JSON, for the environment may read no YAML: `flavors`, and the `flavor`
that is wanted or None. A flavor's own files are read with its library alone where that can be done; everything else as
its python_function says, whose loader of MLflow's needs MLflow. Python 3.8, standard library and the model's own.
"""

import functools
import importlib
import inspect
import os
import sys


class Model:
    """A model: `predict` as MLflow's python_function has it, and `native`, whose other methods are called by name.

    One that is `tabular` knows tables and arrays only, and is given a DataFrame of a dictionary or of several.
    """

    def __init__(self, native, predict=None, tabular=False):
        self.native = native
        self.flavor = ""
        self._predict = predict or native.predict
        self._is_tabular = tabular
        self._takes_params = _takes_params(self._predict)

    @property
    def wants_frame(self):
        """Whether it takes a DataFrame where a table is meant: scikit-learn's tell when they were fitted without."""
        native = self.native
        return hasattr(native, "feature_names_in_") or not hasattr(native, "n_features_in_")

    def predict(self, data, params=None, **options):
        """Ask the model; `params` go to what takes them, `options` are its own."""
        if self._is_tabular:
            data = _make_table(data)
        if params is not None and self._takes_params:
            return self._predict(data, params=params, **options)
        return self._predict(data, **options)

    def find(self, name):
        """Return an attribute of the model. Raises AttributeError."""
        if name == "predict":
            return self.predict
        found = getattr(self.native, name)
        return _take_tables(found) if self._is_tabular and callable(found) else found


def _takes_params(function):
    try:
        return "params" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _make_table(data):
    is_many = isinstance(data, list) and data and all(isinstance(each, dict) for each in data)
    if not is_many and type(data) is not dict:
        return data
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame(data)


def _take_tables(method):
    @functools.wraps(method)
    def asked(*args, **kwargs):
        return method(*map(_make_table, args[:1]), *args[1:], **kwargs)

    return asked


def _load_sklearn(directory, flavor, function):
    path = os.path.join(directory, flavor["pickled_model"])
    serialization = flavor.get("serialization_format", "pickle")
    if serialization == "skops":
        native = importlib.import_module("skops.io").load(path, trusted=flavor.get("skops_trusted_types") or [])
    else:
        loader = importlib.import_module("cloudpickle" if serialization == "cloudpickle" else "pickle")
        with open(path, "rb") as file:
            native = loader.load(file)
    named = function.get("predict_fn") or "predict"
    return Model(native, getattr(native, named, None) or getattr(native, "transform", None), tabular=True)


def _load_xgboost(directory, flavor, function):
    xgboost = importlib.import_module("xgboost")
    path = os.path.join(directory, flavor["data"])
    module, _, name = str(flavor.get("model_class") or "xgboost.core.Booster").rpartition(".")
    if module.split(".")[0] != "xgboost":
        raise ValueError("`%s.%s` is no class of xgboost" % (module, name))
    native = getattr(importlib.import_module(module), name)()
    native.load_model(path)
    if isinstance(native, xgboost.Booster):
        return Model(native, lambda data, **options: native.predict(xgboost.DMatrix(data), **options), tabular=True)
    return Model(native, tabular=True)


def _load_lightgbm(directory, flavor, function):
    lightgbm = importlib.import_module("lightgbm")
    return Model(lightgbm.Booster(model_file=os.path.join(directory, flavor["data"])), tabular=True)


def _load_function(directory, flavor, function):
    """Load what python_function says, in MLflow's way."""
    data = function.get("data") or function.get("model_path")
    path = os.path.join(directory, data) if data else directory
    if function["loader_module"] in ("mlflow.pyfunc.model", "mlflow.pyfunc.loaders.code_model"):
        return _load_class(directory, function)
    wrapper = importlib.import_module(function["loader_module"])._load_pyfunc(path)
    return Model(_find_native(wrapper), wrapper.predict)


def _load_class(directory, function):
    """Load a class of MLflow's PythonModel, which its own loader gives the directory, and a config from 2.12 on."""
    loader = importlib.import_module(function["loader_module"])._load_pyfunc
    wants_config = "model_config" in inspect.signature(loader).parameters
    wrapper = loader(directory, {}) if wants_config else loader(directory)
    return Model(wrapper, wrapper.predict)


def _find_native(wrapper):
    """Return what a wrapper of MLflow's holds, else itself."""
    try:
        raw = wrapper.get_raw_model()
    except Exception:  # MLflow 2.x has none, and some wrappers hold nothing
        return wrapper
    return wrapper if raw is None else raw


_NATIVE = {
    "sklearn": (_load_sklearn, lambda flavor: "pickled_model" in flavor),
    "xgboost": (_load_xgboost, lambda flavor: "data" in flavor),
    "lightgbm": (_load_lightgbm, lambda flavor: "data" in flavor and _is_booster(flavor)),
}


def _is_booster(flavor):
    return str(flavor.get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster"


def list_loadable(flavors):
    """Return the flavors that can be loaded here, the one taken where none is named first."""
    known = [name for name, (_, fits) in _NATIVE.items() if name in flavors and fits(flavors[name])]
    return known + ["python_function"] * bool(flavors.get("python_function", {}).get("loader_module"))


def load(directory, description):
    """Return the Model in a directory. Raises ValueError where no flavor can be loaded, and what loading raises."""
    flavors = description["flavors"]
    known, name = list_loadable(flavors), description.get("flavor")
    if name and name not in known:
        raise ValueError("the model cannot be loaded as `%s`, only as: %s" % (name, ", ".join(known) or "nothing"))
    if not known:
        raise ValueError("none of the model's flavors can be loaded: %s" % ", ".join(sorted(flavors)))
    name = name or known[0]
    function = flavors.get("python_function", {})
    code = function.get("code") or flavors.get(name, {}).get("code")
    if code:
        place = os.path.join(directory, code)
        if place not in sys.path:
            sys.path.insert(0, place)
    load_it = _NATIVE[name][0] if name in _NATIVE else _load_function
    model = load_it(directory, flavors.get(name, {}), function)
    model.flavor = name
    return model
