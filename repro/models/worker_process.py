"""Start a process that holds a model, and make sure that it is the one meant.

It runs `inside/model_worker.py` by the absolute path of its interpreter and is spoken to over a socket; it ends when
that closes, and with us.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from repro.errors import ModelError
from repro.inside import model_channel
from repro.process import start_guest
from repro.settings import make_worker_environment
from repro.values import field, frozen

_SCRIPT = str(Path(model_channel.__file__).resolve().parent / "model_worker.py")
_BUFFER_BYTES = 4 << 20


class WorkerLostError(ModelError):
    """The process that holds a model has ended, or has sent what is no answer."""


@frozen
class WorkerPlan:
    """Which interpreter holds which model, and who it has to be.

    `prefix` and `digest` are those of a restored environment and of its lock; `description` is what
    `inside/model_loader.py` takes, `name` what messages call the model; `variables` are given to it whatever they are
    named; `script` is another program, for tests.
    """

    python: str
    environ: Mapping[str, str]
    name: str
    directory: Path
    description: Mapping[str, object]
    prefix: str | None = None
    digest: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    script: str = _SCRIPT


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


def start_process(plan: WorkerPlan) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Return the process and our end of its socket. Raises ModelError."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    args = [plan.python, "-I", plan.script, str(theirs.fileno())]
    environ = {**make_worker_environment(plan.environ), **plan.variables}
    with theirs:
        try:
            return _starter.do(lambda: start_guest(args, env=environ, pass_fds=(theirs.fileno(),))), ours
        except OSError as error:
            ours.close()
            raise ModelError(f"`{plan.python}` cannot be started ({error.strerror})") from error


def check_ready(plan: WorkerPlan, header: Mapping[str, object]) -> None:
    """Hold a process's first frame against the plan. Raises ModelError where it is not the one meant."""
    problem = None
    prefix, digest = header.get("prefix"), header.get("lock_digest")
    if header.get("op") != "ready":
        problem = "it did not say that it is ready"
    elif plan.prefix and os.path.realpath(str(prefix)) != os.path.realpath(plan.prefix):
        problem = f"it runs in `{prefix}` instead of `{plan.prefix}`"
    elif plan.digest and digest != plan.digest:
        problem = f"its environment is that of the lock `{digest}` instead of `{plan.digest}`"
    if problem:
        raise ModelError(f"the process for the model `{plan.name}` is not the one asked for: {problem}")


def make_load_request(plan: WorkerPlan) -> dict[str, object]:
    """Return what lets a process load the model."""
    return {"op": "load", "directory": str(plan.directory), "description": plan.description}


def refuse_load(plan: WorkerPlan, error: Mapping[str, object]) -> ModelError:
    """Return the error for a model that a process could not load, with what it has raised."""
    where = "its restored environment" if plan.prefix else f"the environment of `{plan.python}`"
    said = " ".join(f"{error.get('type')}: {error.get('message')}".split())[:2000]
    return ModelError(
        f"`{plan.name}` cannot be loaded in {where}: {said}",
        hint=None if plan.prefix else "with `--restore` (`restore=True`) it is loaded in the environment that it names",
    )
