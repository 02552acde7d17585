"""Hold a model and do what is asked of it: `python -I model_worker.py FD`, a socket; ends when that closes.

A frame is `RPM1`, the length of its header (u32, little-endian), the header (JSON with `id`, `op` and `buffers`, their
lengths), and the buffers. The first says who we are (`ready`). Each request then has one answer with its `id`:

    load     {directory, description}        -> {methods}
    call     {method, args, kwargs}          -> {value}      trees of model_codec
    get      {attribute}                     -> {value}, or {is_method: true}
    ping     {}                              -> {}

or `{error: {type, message, traceback}}`. What the model prints goes to standard error. Python 3.8, standard library.
"""

import importlib.util
import json
import os
import select
import socket
import struct
import sys
import threading
import traceback

_HERE = os.path.dirname(os.path.abspath(__file__))
_POLL_MS = 500


def _import_beside(name):
    """Import a module that lies beside this file: isolated, Python does not look here."""
    spec = importlib.util.spec_from_file_location("repro_" + name, os.path.join(_HERE, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


codec = _import_beside("model_codec")
loader = _import_beside("model_loader")


class Channel:
    """Frames over a socket."""

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)

    def _read(self, length):
        buffer = bytearray(length)  # one that may be written: some models need that of an array
        view, done = memoryview(buffer), 0
        while done < length:
            count = self.socket.recv_into(view[done:])
            if not count:
                raise EOFError
            done += count
        return buffer

    def receive(self):
        """Return a header and its buffers. Raises EOFError."""
        head = self._read(8)
        if head[:4] != b"RPM1":
            raise EOFError
        header = json.loads(self._read(struct.unpack("<I", head[4:])[0]).decode())
        return header, [self._read(length) for length in header["buffers"]]

    def send(self, header, buffers=()):
        """Send a frame."""
        text = json.dumps(dict(header, buffers=[len(each) for each in buffers])).encode()
        small = [bytes(each) for each in buffers] if sum(map(len, buffers)) < 65536 else None
        if small is not None:
            self.socket.sendall(codec.pack_header(text) + b"".join(small))
            return
        self.socket.sendall(codec.pack_header(text))
        for each in buffers:
            self.socket.sendall(each)


def _end_with(channel, parent):
    """End the process when its parent has ended, whatever the model is doing."""
    poll = select.poll()
    poll.register(channel.socket, select.POLLRDHUP)
    while not poll.poll(_POLL_MS) and os.getppid() == parent:
        pass
    os._exit(0)


def _find_digest():
    """Return the digest of the lock that this environment was restored from."""
    try:
        with open(os.path.join(sys.prefix, "repro-environment"), encoding="utf-8") as file:
            lines = file.read(65536).splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((line[7:] for line in lines if line.startswith("digest ")), None)


def _describe_error(error):
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
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

    def load(self, request, buffers):
        """Load a model."""
        self._model = loader.load(request["directory"], request["description"])
        names = [name for name in dir(self._model.native) if not name.startswith("_")]
        return {"methods": sorted({"predict", *names}), "class": type(self._model.native).__name__}, []

    def call(self, request, buffers):
        """Call a method of the model."""
        args, kwargs = codec.decode(request["args"], buffers), codec.decode(request["kwargs"], buffers)
        value = self._model.find(request["method"])(*args, **kwargs)
        if value is self._model.native:
            return {"is_model": True}, []
        tree, sent = _encode(value, "the result of `%s`" % request["method"])
        return {"value": tree}, sent

    def get(self, request, buffers):
        """Return an attribute of the model."""
        value = self._model.find(request["attribute"])
        if callable(value):
            return {"is_method": True}, []
        tree, sent = _encode(value, "the attribute `%s`" % request["attribute"])
        return {"value": tree}, sent

    def ping(self, request, buffers):
        """Answer."""
        return {}, []


def serve(channel):
    """Answer requests until the socket closes."""
    holder = Holder()
    ready = {"op": "ready", "prefix": sys.prefix, "python": sys.version.split()[0], "pid": os.getpid()}
    channel.send(dict(ready, lock_digest=_find_digest()))
    deeds = {"load": holder.load, "call": holder.call, "get": holder.get, "ping": holder.ping}
    while True:
        request, buffers = channel.receive()
        try:
            answer, sent = deeds[request["op"]](request, buffers)
        except BaseException as error:  # a model's `sys.exit` is no more than its error
            answer, sent = {"error": _describe_error(error)}, []
        channel.send(dict(answer, id=request.get("id")), sent)


def main():
    """Keep standard output for nobody, and answer until nobody asks."""
    os.dup2(2, 1)
    channel = Channel(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(channel, os.getppid()), daemon=True).start()
    try:
        serve(channel)
    except (EOFError, OSError):
        os._exit(0)  # threads of the model's would wait


if __name__ == "__main__":
    main()
