"""Ask a model what a server or `repro predict` has been asked: tables and arrays as they lie in memory, or as JSON.

    score  {calls: [tree, ...], params, form}     -> {answers: [{array}, {json}, {parquet} or {error}, ...]}

With `form` parquet an answer is a Parquet file, which pandas writes. Nothing that comes from here has to be unpickled.
Python 3.8, standard library, and the model's numpy and pandas.
"""

import base64
import importlib
import io
import json
import sys

_CODES = {"<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "|b1": "?", "<M8[ns]": "q"}


def _import(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _nest(flat, shape):
    for length in reversed(shape[1:]):
        flat = [flat[start : start + length] for start in range(0, len(flat), length)] if length else []
    return flat if shape else flat[0]


def _make_array(tree, buffers):
    """Return an array; nested lists where there is no numpy."""
    numpy = _import("numpy")
    if numpy is None:
        return _nest(_make_column(tree, buffers), tree["shape"])
    if "buffer" in tree:
        return numpy.frombuffer(buffers[tree["buffer"]], dtype=tree["dtype"]).reshape(tree["shape"])
    return numpy.array(tree["values"], dtype=object if tree["dtype"] == "O" else str).reshape(tree["shape"])


def _decode_bytes(values):
    return [None if each is None else base64.b64decode(each) for each in values]


def _make_column(tree, buffers):
    if "buffer" in tree:
        numpy = _import("numpy")
        if numpy is None:
            return memoryview(buffers[tree["buffer"]]).cast(_CODES[tree["dtype"]]).tolist()
        return numpy.frombuffer(buffers[tree["buffer"]], dtype=tree["dtype"])
    return _decode_bytes(tree["values"]) if tree.get("bytes") else tree["values"]


def _make_block(tree, buffers):
    """Return the numbers of a frame whose columns have one type, as pandas keeps them; None for another frame."""
    import numpy

    columns = tree["columns"]
    dtypes = {each["dtype"] if "buffer" in each else "" for each in columns}
    if len(dtypes) != 1 or "" in dtypes:
        return None
    block = numpy.empty((len(columns), tree["rows"]), dtype=columns[0]["dtype"])
    for number, each in enumerate(columns):
        block[number] = _make_column(each, buffers)
    return block.T


def _make_frame(tree, buffers):
    """Return a DataFrame; a dictionary of columns where there is no pandas."""
    pandas = _import("pandas")
    if pandas is None:
        return {each["name"]: _make_column(each, buffers) for each in tree["columns"]}
    names, index = [each["name"] for each in tree["columns"]], tree.get("index")
    block = _make_block(tree, buffers)
    if block is not None:  # much faster than column by column
        return pandas.DataFrame(block, columns=names, index=index, copy=False)
    content = {each["name"]: _make_column(each, buffers) for each in tree["columns"]}
    return pandas.DataFrame(content, columns=names, index=index)


def _make_named(tree, buffers):
    """Return a DataFrame of rows whose columns have one type; a dictionary of columns where there is no pandas."""
    pandas = _import("pandas")
    if pandas is None:
        rows = _make_array(tree, buffers)
        return {name: list(column) for name, column in zip(tree["names"], zip(*rows))}
    return pandas.DataFrame(_lay_by_column(tree, buffers), columns=tree["names"], copy=False)


def _lay_by_column(tree, buffers):
    """Return an array whose columns lie in one piece each, as in a DataFrame: sums of its rows are the same bits."""
    import numpy

    return numpy.asfortranarray(_make_array(tree, buffers))


def make_input(tree, buffers):
    """Return what the model is given."""
    kind = tree["kind"]
    if "names" in tree:
        return _make_named(tree, buffers)
    if kind == "array":
        return _make_array(tree, buffers)
    if kind == "frame":
        return _make_frame(tree, buffers)
    if kind == "dict":
        return {name: make_input(each, buffers) for name, each in tree["items"].items()}
    if kind == "parquet":
        import pandas

        return pandas.read_parquet(io.BytesIO(bytes(buffers[tree["buffer"]])))
    return tree["value"]


def _say_value(value):
    """Return for JSON what it does not know, as MLflow's servers do."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):  # an array, or a number of numpy's
        known = value.tolist()
        kind = getattr(getattr(value, "dtype", None), "kind", "")
        return str(value) if kind in "Mm" and not isinstance(known, list) else known
    if hasattr(value, "to_dict"):
        return value.to_dict(orient="records") if hasattr(value, "columns") else list(value)
    raise TypeError("the model has answered with a `%s`, which JSON cannot say" % type(value).__name__)


def _say_moments(array):
    import numpy

    return numpy.datetime_as_string(array).tolist() if array.dtype.kind == "M" else array.astype(str).tolist()


def format_answer(value, buffers):
    """Return the tree of an answer; what belongs beside it is added to `buffers`."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.Series):
        value = pandas.DataFrame(value)
    if pandas is not None and isinstance(value, pandas.DataFrame):
        value = value.to_dict(orient="records")
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.dtype.kind in "fiub" and value.dtype.itemsize <= 8 and value.ndim:
            plain = numpy.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
            if plain.dtype.str[1:] == "f2":
                plain = plain.astype("<f4")
            buffers.append(plain.tobytes())
            return {"array": {"dtype": plain.dtype.str, "shape": plain.shape, "buffer": len(buffers) - 1}}
        value = _say_moments(value) if value.dtype.kind in "Mm" else value.tolist()
    buffers.append(json.dumps(value, default=_say_value).encode())
    return {"json": len(buffers) - 1}


# Estimators of scikit-learn that make an array of a DataFrame at once, and look at its names only to compare them.
_NUMERIC = (
    "sklearn.linear_model.", "sklearn.tree.", "sklearn.svm.", "sklearn.naive_bayes.", "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
)  # fmt: skip


def find_names(model):
    """Return the columns that a model knows where it needs no DataFrame around them, else None."""
    names = getattr(model, "feature_names_in_", None)
    if names is None or not type(model).__module__.startswith(_NUMERIC):
        return None
    import warnings

    warnings.filterwarnings("ignore", message="X does not have valid feature names")  # we compare them
    return list(names)


def format_table(value, buffers):
    """Return the tree of an answer as a Parquet file, with `prediction` for what has no names."""
    import pandas

    if not isinstance(value, pandas.DataFrame):
        if isinstance(value, pandas.Series) and value.name is not None:
            value = value.to_frame()
        else:
            value = pandas.DataFrame(value)
        if list(value.columns) == [0]:
            value.columns = ["prediction"]
    value.columns = [str(name) for name in value.columns]
    content = io.BytesIO()
    value.to_parquet(content, index=False)
    buffers.append(content.getvalue())
    return {"parquet": len(buffers) - 1}


class Scorer:
    """Ask one model.

    `conform` makes what a Parquet file holds into what the model takes, `describe_error` a value of an exception.
    """

    def __init__(self, model, conform, describe_error):
        self._model = model
        self._conform = conform
        self._describe_error = describe_error
        self._names = find_names(model.native)

    def _make_input(self, tree, buffers):
        if self._names and tree["kind"] == "frame" and [each["name"] for each in tree["columns"]] == self._names:
            block = _make_block(tree, buffers)
            if block is not None and block.dtype.kind == "f":
                return block
        if self._names and tree.get("names") == self._names and tree["dtype"][1] == "f":
            return _lay_by_column(tree, buffers)
        value = make_input(tree, buffers)
        return self._conform(value) if tree["kind"] == "parquet" else value

    def _ask(self, tree, buffers, request, sent):
        before, write = len(sent), format_table if request.get("form") == "parquet" else format_answer
        try:
            return write(self._model.predict(self._make_input(tree, buffers), params=request.get("params")), sent)
        except BaseException as error:  # a model's `sys.exit` is no more than its error
            del sent[before:]
            return {"error": self._describe_error(error)}

    def score(self, request, buffers):
        """Ask the model once for each call."""
        sent = []
        answers = [self._ask(tree, buffers, request, sent) for tree in request["calls"]]
        return {"answers": answers}, sent
