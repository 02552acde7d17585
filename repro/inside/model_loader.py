"""Load a model directory in the environment that it needs: `load(directory, description, saved_model)`.

The description is what the MLmodel says, as JSON, for the environment may read no YAML: `flavors`, the `flavor` that is
wanted or None, and the file of the `example` whose type the input has, or None. A flavor's own files are read with its
library alone where that can be done, by the module `saved_model` that lies beside this one; everything else as its
python_function says, whose loader of MLflow's needs MLflow. Python 3.8, standard library and the model's own.
"""

import functools
import importlib
import json
import os
import sys


class Model:
    """A model: `predict` as MLflow's python_function has it, and `native`, whose other methods are called by name.

    One that is `tabular` knows tables and arrays only, and is given a DataFrame of a dictionary or of several.
    """

    def __init__(self, wrapper, native, flavor, tabular=False, example=None):
        self.native = native
        self.flavor = flavor
        self._predict = _load_like(example, wrapper.predict) if example else wrapper.predict
        self._takes_params = "params" in _list_parameters(self._predict)
        self._is_tabular = tabular

    @property
    def wants_frame(self):
        """Whether it takes a DataFrame where a table is meant: scikit-learn's tell when they were fitted without."""
        native = self.native
        return hasattr(native, "feature_names_in_") or not hasattr(native, "n_features_in_")

    def predict(self, data, params=None, **options):
        """Ask the model; `options` are parameters too."""
        given = dict(params or {}, **options)
        if self._is_tabular:
            data = _make_table(data)
        if given and self._takes_params:
            return self._predict(data, params=given)
        return self._predict(data, **given)

    def find(self, name):
        """Return an attribute of the model. Raises AttributeError."""
        if name == "predict":
            return self.predict
        found = getattr(self.native, name)
        return _take_tables(found) if self._is_tabular and callable(found) else found


def _list_parameters(function):
    inspect = importlib.import_module("inspect")  # large, and who only asks what can be loaded needs none of it
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _make_table(data):
    is_many = isinstance(data, list) and data and all(isinstance(each, dict) for each in data)
    if not is_many and type(data) is not dict:
        return data
    return importlib.import_module("pandas").DataFrame(data)


def _take_tables(method):
    @functools.wraps(method)
    def asked(*args, **kwargs):
        return method(*map(_make_table, args[:1]), *args[1:], **kwargs)

    return asked


def _load_like(path, predict):
    """Return `predict` that is given what a table was made of: a list, a dictionary, a value, as the example is one."""
    with open(path, encoding="utf-8") as file:
        example = json.load(file)
    is_plain = isinstance(example, list) and not any(isinstance(each, (dict, list)) for each in example)

    def unwrap(data):
        if isinstance(example, dict):
            return data.to_dict(orient="records")[0] if len(data) == 1 else data
        if is_plain and data.shape[1] == 1:
            return data.iloc[:, 0].tolist()
        return data.to_dict(orient="records") if isinstance(example, list) else data.iloc[0, 0]

    @functools.wraps(predict)
    def asked(data, *args, **kwargs):
        is_table = hasattr(data, "iloc") and hasattr(data, "columns")
        return predict(unwrap(data) if is_table else data, *args, **kwargs)

    return asked


def _load_function(directory, function):
    """Return the wrapper that python_function names, and what it wraps, in MLflow's way."""
    load_it = importlib.import_module(function["loader_module"])._load_pyfunc
    is_class, config = function["loader_module"] == "mlflow.pyfunc.model", function.get("config")
    wants_config = (is_class or config) and "model_config" in _list_parameters(load_it)  # from 2.12 on
    data = None if is_class else function.get("data") or function.get("model_path")  # a class has the directory
    place = os.path.join(directory, data) if data else directory
    wrapper = load_it(place, config or {}) if wants_config else load_it(place)
    try:
        native = wrapper.get_raw_model()
    except Exception:  # MLflow 2.x has none, and some wrappers hold nothing
        native = None
    return wrapper, wrapper if native is None else native


_NATIVE = {
    "sklearn": lambda flavor: "pickled_model" in flavor,
    "xgboost": lambda flavor: "data" in flavor,
    "lightgbm": lambda flavor: "data" in flavor and (_is_booster(flavor) or "serialization_format" in flavor),
}


def _is_booster(flavor):
    return str(flavor.get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster"


def list_loadable(flavors):
    """Return the flavors that can be loaded here, the one taken where none is named first."""
    known = [name for name, fits in _NATIVE.items() if name in flavors and fits(flavors[name])]
    return known + ["python_function"] * bool(flavors.get("python_function", {}).get("loader_module"))


def find_code(flavors, flavor=None):
    """Return where the code of a model lies in its directory, None where it brings none."""
    own = flavors.get(flavor or next(iter(list_loadable(flavors)), ""), {})
    return flavors.get("python_function", {}).get("code") or own.get("code")


def load(directory, description, saved_model):
    """Return the Model in a directory. Raises ValueError where no flavor can be loaded, and what loading raises."""
    flavors = description["flavors"]
    known, name = list_loadable(flavors), description.get("flavor")
    if name and name not in known:
        raise ValueError("the model cannot be loaded as `%s`, only as: %s" % (name, ", ".join(known) or "nothing"))
    if not known:
        raise ValueError("none of the model's flavors can be loaded: %s" % ", ".join(sorted(flavors)))
    name = name or known[0]
    function, own = flavors.get("python_function", {}), flavors.get(name, {})
    code = find_code(flavors, name)
    if code:
        place = os.path.join(directory, code)
        if place not in sys.path:
            sys.path.insert(0, place)
    if name not in _NATIVE:
        example = description.get("example") and os.path.join(directory, description["example"])
        return Model(*_load_function(directory, function), flavor=name, example=example)
    if name == "sklearn" and "predict_fn" in function:
        own = dict(own, predict_fn=function["predict_fn"])  # MLflow has it there
    wrapper = saved_model.load_flavor(directory, name, own)
    return Model(wrapper, wrapper.get_raw_model(), flavor=name, tabular=not own.get("input"))
