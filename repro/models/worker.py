"""A process that holds a model in its own environment: start it, make sure who it is, ask it, end it.

It is spoken to in frames over a socket (see `inside/model_worker.py`), one request at a time; nothing that it sends is
unpickled, and what is no frame ends it.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import ModelError
from repro.inside import model_codec
from repro.process import exit_code_of, kill_group, start_guest

_SCRIPT = str(Path(model_codec.__file__).resolve().parent / "model_worker.py")
_START_S = 60.0
_GRACE_S = 2.0
_MOST_HEADER_BYTES = 512 << 20
_MOST_BUFFER_BYTES = 64 << 30
_BUFFER_BYTES = 4 << 20


class RemoteError(ModelError):
    """A model has raised an exception in its environment; `type` is its name, `traceback` that of over there."""

    def __init__(self, message: str, *, type: str, traceback: str) -> None:
        super().__init__(message)
        self.type = type
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.message}\n\nthe traceback in the model's environment:\n{self.traceback}"


class WorkerLostError(ModelError):
    """The process that holds the model has ended, or has sent what is no answer."""


class _Starter:
    """A thread that lasts as long as we do: Linux ends a child with the thread that has started it (prctl(2))."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._pid = 0
        self._lock = threading.Lock()

    def _work(self) -> None:
        while True:
            deed, outcome = self._orders.get()
            try:
                outcome.set_result(deed())
            except BaseException as error:
                outcome.set_exception(error)

    def do(self, deed: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Return what the deed returns; after a fork there is another thread."""
        if threading.current_thread() is threading.main_thread():
            return deed()
        with self._lock:
            if self._pid != os.getpid():
                self._orders, self._pid = queue.SimpleQueue(), os.getpid()
                threading.Thread(target=self._work, name="repro-starter", daemon=True).start()
        outcome: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((deed, outcome))
        return outcome.result()


_starter = _Starter()  # one for each process, as the thread is


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """Which interpreter holds the model, and who it has to be: its `prefix` and the digest of its lock, where known."""

    python: str
    environ: Mapping[str, str]
    name: str
    prefix: str | None = None
    digest: str | None = None


class Worker:
    """A process with a model; several threads may ask it, one at a time."""

    def __init__(self, plan: WorkerPlan, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._plan = plan
        self._process = process
        self._socket = connection
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._number = 0
        self._is_open = True
        self.ready: Mapping[str, Any] = {}

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Tell whether it can be asked."""
        return self._is_open

    # frames

    def _read(self, length: int) -> bytearray:
        buffer = bytearray(length)
        view, done = memoryview(buffer), 0
        while done < length:
            count = self._socket.recv_into(view[done:])
            if not count:
                raise EOFError
            done += count
        return buffer

    def _receive(self) -> tuple[dict[str, Any], list[bytearray]]:
        """Return a header and its buffers. Raises EOFError, ValueError for what is no frame, and OSError."""
        head = self._read(8)
        (length,) = struct.unpack("<I", head[4:])
        if head[:4] != b"RPM1" or length > _MOST_HEADER_BYTES:
            raise ValueError("it is no frame")
        header = json.loads(self._read(length).decode())
        lengths = header.get("buffers") if isinstance(header, dict) else None
        if not isinstance(lengths, list) or not all(type(each) is int and each >= 0 for each in lengths):
            raise ValueError("it has no lengths of buffers")
        if sum(lengths) > _MOST_BUFFER_BYTES:
            raise ValueError(f"it promises {sum(lengths)} bytes")
        return header, [self._read(each) for each in lengths]

    def _send(self, header: Mapping[str, object], buffers: Sequence[bytes | memoryview]) -> None:
        text = json.dumps({**header, "buffers": [len(each) for each in buffers]}).encode()
        beginning = model_codec.pack_header(text)
        if sum(map(len, buffers)) < _BUFFER_BYTES // 64:
            self._socket.sendall(b"".join((beginning, *buffers)))
            return
        self._socket.sendall(beginning)
        for each in buffers:
            self._socket.sendall(each)

    def _lose(self, error: BaseException) -> WorkerLostError:
        """End the process, for nobody knows what it would say next, and return why."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S if isinstance(error, EOFError | ConnectionError) else 0)
        returncode = self._process.poll()
        self.close()
        if isinstance(error, TimeoutError):
            return WorkerLostError(f"the process that holds the model `{self._plan.name}` did not answer in time")
        if returncode is not None:
            said = f"exit code {exit_code_of(returncode)}; what it said is above"
            return WorkerLostError(f"the process that holds the model `{self._plan.name}` has ended ({said})")
        reason = f"{type(error).__name__}: {error}"[:200]
        return WorkerLostError(f"the process that holds the model `{self._plan.name}` has sent no answer ({reason})")

    def hear_ready(self, timeout_s: float = _START_S) -> None:
        """Take the first frame, and hold the process to be who it should be. Raises ModelError."""
        self._socket.settimeout(timeout_s)
        try:
            header, _ = self._receive()
        except Exception as error:
            raise self._lose(error) from error
        self._socket.settimeout(None)
        problem = self._find_problem(header)
        if problem:
            self.close()
            raise WorkerLostError(f"the process for the model `{self._plan.name}` is not the one asked for: {problem}")
        self.ready = header

    def _find_problem(self, header: Mapping[str, object]) -> str | None:
        if header.get("op") != "ready":
            return "it did not say that it is ready"
        prefix, wanted = header.get("prefix"), self._plan.prefix
        if wanted and os.path.realpath(str(prefix)) != os.path.realpath(wanted):
            return f"it runs in `{prefix}` instead of `{wanted}`"
        if self._plan.digest and header.get("lock_digest") != self._plan.digest:
            return f"its environment is that of the lock `{header.get('lock_digest')}` instead of `{self._plan.digest}`"
        return None

    def _check(self) -> None:
        if os.getpid() != self._owner:
            raise ModelError(
                f"the model `{self._plan.name}` was loaded in the process {self._owner}, and this is a fork of it",
                hint="load it again here, or start processes with `spawn`",
            )
        if not self._is_open:
            raise WorkerLostError(f"the model `{self._plan.name}` is closed", hint="load it again")

    def ask(
        self, op: str, fields: Mapping[str, object], buffers: Sequence[bytes | memoryview] = ()
    ) -> tuple[dict[str, Any], list[bytearray]]:
        """Return the answer to a request. Raises RemoteError for the model's own exception, and WorkerLostError.

        A request that is interrupted ends the process: its answer would be taken for the next one's.
        """
        with self._lock:
            self._check()
            self._number += 1
            try:
                self._send({"id": self._number, "op": op, **fields}, buffers)
                header, received = self._receive()
                if header.get("id") != self._number:
                    raise ValueError("it answers another request")
            except (EOFError, ValueError, OSError, RecursionError, MemoryError) as error:
                raise self._lose(error) from error
            except BaseException:
                self.close()
                raise
        if "error" in header:
            raise self._read_error(header["error"])
        return header, received

    def _read_error(self, error: object) -> Exception:
        said = error if isinstance(error, dict) else {}
        kind, message = str(said.get("type")), str(said.get("message"))
        if kind == "TypeError" and "cannot cross" in message:
            return TypeError(message)
        return RemoteError(f"{kind}: {message}", type=kind, traceback=str(said.get("traceback")))

    def decode(self, header: Mapping[str, Any], buffers: Sequence[bytearray]) -> object:
        """Return the value of an answer. Raises WorkerLostError for what nobody of us has written."""
        try:
            return model_codec.decode(header["value"], buffers)
        except (KeyError, ValueError, RecursionError, MemoryError) as error:
            raise self._lose(error) from error

    def close(self) -> None:
        """End the process with all that it has started; closing twice is fine."""
        if not self._is_open or os.getpid() != self._owner:
            return
        self._is_open = False
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        if self._process.returncode is None:
            kill_group(self._process)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)


def _spawn(plan: WorkerPlan, script: str) -> Worker:
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    args = [plan.python, "-I", script, str(theirs.fileno())]
    with theirs:
        try:
            process = _starter.do(lambda: start_guest(args, env=plan.environ, pass_fds=(theirs.fileno(),)))
        except OSError as error:
            ours.close()
            raise ModelError(f"`{plan.python}` cannot be started ({error.strerror})") from error
    return Worker(plan, process, ours)


def start_worker(plan: WorkerPlan, *, script: str = _SCRIPT) -> Worker:
    """Start a process that can hold a model, and make sure who it is. Raises ModelError."""
    worker = _spawn(plan, script)
    try:
        worker.hear_ready()
    except BaseException:
        worker.close()
        raise
    return worker
