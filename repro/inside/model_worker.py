"""Hold a model and do what is asked of it: `python -I model_worker.py FD`, a socket; ends when that closes.

What is said is frames (model_channel.py). The first says who we are (`ready`); then each request has one answer with
its `id`:

    load     {directory, description}        -> {class, flavor, wants_frame}
    call     {method, args, kwargs}          -> {value} or {is_model}      trees of model_codec.py
    get      {attribute}                     -> {value} or {is_method}
    score    {calls, params}                 -> {answers}                  as model_score.py says
    table    {input, output, ..., params}    -> {rows} or {missing}        opens one as model_table.py says
    rows     {}                              -> {rows}                     scores some of its rows, 0 at its end
    ping     {}                              -> {}

or `{error: {type, message, traceback}}`. What the model prints goes to standard error. Python 3.8, standard library.
"""

import gc
import importlib.util
import os
import select
import socket
import sys
import threading
import traceback

_HERE = os.path.dirname(os.path.abspath(__file__))
_POLL_MS = 500
_LOADING_THRESHOLD = 1_000_000


def _import_beside(name):
    """Import a module that lies beside this file: isolated, Python does not look here."""
    spec = importlib.util.spec_from_file_location("repro_" + name, os.path.join(_HERE, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


channel = _import_beside("model_channel")
codec = _import_beside("model_codec")
enforce = _import_beside("model_enforce")
loader = _import_beside("model_loader")
saved_model = _import_beside("saved_model")


def _end_with(connection, parent):
    """End the process when its parent has ended, whatever the model is doing."""
    poll = select.poll()
    poll.register(connection, getattr(select, "POLLRDHUP", 0))
    while not poll.poll(_POLL_MS) and os.getppid() == parent:
        pass
    os._exit(0)


def _find_digest():
    """Return the digest of the lock that this environment was restored from: one of the store, or a private one."""
    for name in ("repro-environment", "repro-private"):
        try:
            with open(os.path.join(sys.prefix, name), encoding="utf-8") as file:
                lines = file.read(65536).splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        return next((line[7:] for line in lines if line.startswith("digest ")), None)
    return None


def _describe_error(error):
    """Return an exception as a value; its traceback begins where the model does."""
    trace = error.__traceback__
    while trace and trace.tb_next and os.path.dirname(trace.tb_frame.f_code.co_filename) == _HERE:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__name__)
    return {"type": name, "message": str(error), "traceback": text}


def _encode(value, what):
    try:
        return codec.encode(value)
    except TypeError as error:
        raise TypeError("%s: %s" % (what, error)) from None


class Holder:
    """The model, and what is asked of it."""

    def __init__(self):
        self._model = None
        self._signature = None
        self._score = None
        self._table = None

    def load(self, request, buffers):
        """Load a model."""
        description = request["description"]
        self._model = loader.load(request["directory"], description, saved_model)
        self._signature = description.get("signature")
        native = type(self._model.native)
        facts = {"class": "%s.%s" % (native.__module__, native.__qualname__), "flavor": self._model.flavor}
        return dict(facts, wants_frame=self._model.wants_frame), []

    def _find(self, name):
        return self._predict if name == "predict" else self._model.find(name)

    def _predict(self, data, params=None, **options):
        """Ask the model for what the signature says."""
        data = enforce.conform(data, self._signature)
        return self._model.predict(data, params=enforce.conform_params(params, self._signature), **options)

    def call(self, request, buffers):
        """Call a method of the model."""
        method = request["method"]
        args, kwargs = codec.decode(request["args"], buffers), codec.decode(request["kwargs"], buffers)
        value = self._find(method)(*args, **kwargs)
        if value is self._model.native:
            return {"is_model": True}, []
        tree, sent = _encode(value, "the result of `%s`" % method)
        return {"value": tree}, sent

    def get(self, request, buffers):
        """Return an attribute of the model."""
        value = self._find(request["attribute"])
        if callable(value):
            return {"is_method": True}, []
        tree, sent = _encode(value, "the attribute `%s`" % request["attribute"])
        return {"value": tree}, sent

    def score(self, request, buffers):
        """Ask the model once for each call."""
        if self._score is None:
            conform = lambda data: enforce.conform(data, self._signature)  # noqa: E731
            self._score = _import_beside("model_score").Scorer(self._model, conform, _describe_error)
        params = enforce.conform_params(request.get("params"), self._signature)  # the defaults of those not given
        return self._score.score(dict(request, params=params), buffers)

    def table(self, request, buffers):
        """Open a Parquet file to be scored, where this environment has what reads it."""
        missing = [name for name in ("pandas", "pyarrow") if importlib.util.find_spec(name) is None]
        if missing:
            return {"missing": missing}, []
        convert = _import_beside("model_result").convert
        self._table = (_import_beside("model_table").Table(request, convert), request.get("params"))
        return {"rows": self._table[0].rows}, []

    def rows(self, request, buffers):
        """Score some rows of it; after the last its file is whole."""
        table, params = self._table
        rows = table.score(lambda frame: self._predict(frame, params))
        if not rows:
            table.close()
        return {"rows": rows}, []

    def ping(self, request, buffers):
        """Answer."""
        return {}, []


def _settle(thresholds):
    """Let go of what loading has left over, and keep the collector from what stays: it is most of what there is."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
    ctypes = sys.modules.get("ctypes")  # numpy's users have it
    if ctypes is not None:
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (AttributeError, OSError):  # another C library
            pass


def serve(frames):
    """Answer requests until the socket closes."""
    holder = Holder()
    thresholds = gc.get_threshold()
    gc.set_threshold(_LOADING_THRESHOLD, *thresholds[1:])  # imports leave nothing to collect, and hundreds of searches
    ready = {"op": "ready", "prefix": sys.prefix, "python": sys.version.split()[0], "pid": os.getpid()}
    frames.send(dict(ready, lock_digest=_find_digest()))
    deeds = {name: getattr(holder, name) for name in ("load", "call", "get", "score", "table", "rows", "ping")}
    request = {}
    while True:
        request, buffers = frames.receive(looks=request.get("op") == "call")  # a server's processes have others beside
        try:
            answer, sent = deeds[request["op"]](request, buffers)
        except BaseException as error:  # a model's `sys.exit` is no more than its error
            answer, sent = {"error": _describe_error(error)}, []
        buffers = None
        answer = dict(answer, id=request.get("id"), free=frames.release())
        frames.send(answer, sent, memory=request.get("op") != "score")  # a server's loop takes no descriptors
        sent = None
        if request.get("op") == "load":
            _settle(thresholds)


def main():
    """Keep standard output for nobody, and answer until nobody asks."""
    os.dup2(2, 1)
    connection = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(connection, os.getppid()), daemon=True).start()
    try:
        serve(channel.Channel(connection, asks=False))
    except (EOFError, OSError):
        os._exit(0)  # threads of the model's would wait


if __name__ == "__main__":
    main()
