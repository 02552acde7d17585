"""Hold a model and score what a server sends: `python -I model_score.py FD`, a socket; ends when that closes.

A frame is `RPM1`, the length of its header (u32, little-endian), the header (JSON, with `buffers`, their lengths), and
the buffers. The first says who we are (`ready`); then each request has its answer, in order. Numbers travel as they lie
in memory, everything else as JSON: nothing that comes from here has to be unpickled.

    load   {directory, flavors}             -> {wants_frame}
    score  {calls: [tree, ...], params}     -> {answers: [{array}, {json} or {error}, ...]}
"""

import base64
import importlib
import inspect
import io
import json
import os
import socket
import struct
import sys
import traceback

MAGIC = b"RPM1"


class Channel:
    """Frames over a socket."""

    def __init__(self, descriptor):
        self._file = socket.socket(fileno=descriptor).makefile("rwb")

    def _read(self, length):
        buffer = bytearray(length)  # one that may be written: some models need that of an array
        view = memoryview(buffer)
        done = 0
        while done < length:
            count = self._file.readinto(view[done:])
            if not count:
                raise EOFError
            done += count
        return buffer

    def receive(self):
        """Return a header and its buffers. Raises EOFError."""
        head = self._read(8)
        if head[:4] != MAGIC:
            raise EOFError
        header = json.loads(bytes(self._read(struct.unpack("<I", head[4:])[0])).decode())
        return header, [self._read(length) for length in header.get("buffers", ())]

    def send(self, header, buffers=()):
        """Send a frame."""
        text = json.dumps(dict(header, buffers=[len(each) for each in buffers])).encode()
        self._file.write(MAGIC + struct.pack("<I", len(text)) + text)
        for each in buffers:
            self._file.write(each)
        self._file.flush()


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


def make_input(tree, buffers):
    """Return what the model is given."""
    kind = tree["kind"]
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


def describe_error(error):
    """Return an exception as a value."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": type(error).__name__, "message": str(error), "traceback": text}


def _load_pickled(path, serialization, trusted):
    if serialization == "skops":
        return importlib.import_module("skops.io").load(path, trusted=trusted or [])
    loader = importlib.import_module("cloudpickle" if serialization == "cloudpickle" else "pickle")
    with open(path, "rb") as file:
        return loader.load(file)


def load_model(directory, flavors):
    """Return the model, and whether it takes a DataFrame where a table is meant.

    scikit-learn's own is read without MLflow; everything else as its python_function says.
    """
    function = flavors.get("python_function", {})
    code = function.get("code")
    if code:
        sys.path.insert(0, os.path.join(directory, code))
    own = flavors.get("sklearn", {})
    if own.get("pickled_model"):
        path = os.path.join(directory, own["pickled_model"])
        model = _load_pickled(path, own.get("serialization_format"), own.get("skops_trusted_types"))
        return model, hasattr(model, "feature_names_in_") or not hasattr(model, "n_features_in_")
    if not function.get("loader_module"):
        raise ValueError("the model has no python_function flavor, only: %s" % ", ".join(sorted(flavors)))
    data = function.get("data") or function.get("model_path")
    path = os.path.join(directory, data) if data else directory
    return importlib.import_module(function["loader_module"])._load_pyfunc(path), True


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


class Holder:
    """The model, and how it is asked."""

    def __init__(self):
        self._model = None
        self._takes_params = False
        self._names = None

    def load(self, request, buffers):
        """Load a model."""
        self._model, wants_frame = load_model(request["directory"], request["flavors"])
        self._names = find_names(self._model)
        try:
            self._takes_params = "params" in inspect.signature(self._model.predict).parameters
        except (TypeError, ValueError):
            self._takes_params = False
        return {"wants_frame": wants_frame}, []

    def _make_input(self, tree, buffers):
        if self._names and tree["kind"] == "frame" and [each["name"] for each in tree["columns"]] == self._names:
            block = _make_block(tree, buffers)
            if block is not None and block.dtype.kind == "f":
                return block
        return make_input(tree, buffers)

    def _ask(self, tree, buffers, params, sent):
        before = len(sent)
        try:
            value = make_input(tree, buffers)
            asked = (
                self._model.predict(value, params=params)
                if params and self._takes_params
                else self._model.predict(value)
            )
            return format_answer(asked, sent)
        except BaseException as error:  # a model's `sys.exit` is no more than its error
            del sent[before:]
            return {"error": describe_error(error)}

    def score(self, request, buffers):
        """Ask the model once for each call."""
        sent = []
        answers = [self._ask(tree, buffers, request.get("params"), sent) for tree in request["calls"]]
        return {"answers": answers}, sent


def serve(channel):
    """Answer requests until the socket closes."""
    holder = Holder()
    deeds = {"load": holder.load, "score": holder.score}
    channel.send({"op": "ready", "prefix": sys.prefix, "python": sys.version.split()[0], "pid": os.getpid()})
    while True:
        request, buffers = channel.receive()
        try:
            answer, sent = deeds[request["op"]](request, buffers)
        except BaseException as error:
            answer, sent = {"error": describe_error(error)}, []
        channel.send(dict(answer, id=request.get("id")), sent)


def main():
    """Keep standard output for nobody: what a model prints goes to standard error."""
    os.dup2(2, 1)
    try:
        serve(Channel(int(sys.argv[1])))
    except (EOFError, OSError):
        os._exit(0)  # threads of the model's would wait


if __name__ == "__main__":
    main()
