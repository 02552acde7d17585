"""Start a process that holds a model, make sure that it is the one meant, and have it load the model.

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
from contextlib import suppress
from pathlib import Path
from typing import Any

from repro.errors import ModelError
from repro.inside import model_channel
from repro.process import exit_code_of, kill_group, start_guest
from repro.settings import make_worker_environment
from repro.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future

_SCRIPT = str(Path(model_channel.__file__).resolve().parent / "model_worker.py")
_BUFFER_BYTES = 4 << 20
_START_S = 60.0
_GRACE_S = 2.0
LOAD_ID = 1
"""The number of the first request, which lets a process load the model."""


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
        from concurrent.futures import Future

        with self._lock:
            if self._pid != os.getpid():
                self._orders, self._pid = queue.SimpleQueue(), os.getpid()
                threading.Thread(target=self._work, name="repro-starter", daemon=True).start()
        outcome: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((deed, outcome))
        return outcome.result()


_starter = _Starter()  # one for each process, as the thread is


def _start_process(plan: WorkerPlan) -> tuple[subprocess.Popen[bytes], socket.socket]:
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


def _check_ready(plan: WorkerPlan, header: Mapping[str, object]) -> None:
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


def explain_loss(plan: WorkerPlan, process: subprocess.Popen[bytes], error: BaseException) -> WorkerLostError:
    """Return why nothing comes from a process any more; one that has hung up is given a moment to end."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S if isinstance(error, EOFError | ConnectionError) else 0)
    code = process.poll()
    if isinstance(error, TimeoutError):
        return WorkerLostError(f"the process that holds the model `{plan.name}` did not answer in time")
    if code is not None:
        said = f"exit code {exit_code_of(code)}; what it said is above"
        return WorkerLostError(f"the process that holds the model `{plan.name}` has ended ({said})")
    reason = f"{type(error).__name__}: {error}"[:200]
    return WorkerLostError(f"the process that holds the model `{plan.name}` has sent no answer ({reason})")


class Beginning:
    """A process that is to hold a model. Raises ModelError where it cannot be started.

    Others can work while it starts, until it is greeted, and while it loads, until somebody hears its answer.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self.plan = plan
        self.process, connection = _start_process(plan)
        self.channel = model_channel.Channel(connection, asks=True)
        self.ready: Mapping[str, Any] = {}
        """What it has said of itself: `prefix`, `python`, `pid`."""

    def greet(self) -> None:
        """Hear who the process is, and have it load the model where it is who it should be.

        Raises ModelError, and has ended the process then.
        """
        self.channel.socket.settimeout(_START_S)
        try:
            self._greet()
        except BaseException:
            self.end()
            raise
        self.channel.socket.settimeout(None)

    def _greet(self) -> None:
        asked = {"op": "load", "directory": str(self.plan.directory), "description": self.plan.description}
        try:
            self.ready, _ = self.channel.receive()
            _check_ready(self.plan, self.ready)
            self.channel.send({"id": LOAD_ID, **asked})
        except ModelError:
            raise
        except Exception as error:
            raise explain_loss(self.plan, self.process, error) from error

    def end(self) -> None:
        """End the process at once."""
        kill_group(self.process)
        self.channel.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE_S)


def begin(plan: WorkerPlan, meanwhile: Callable[[], object] = lambda: None) -> Beginning:
    """Return a process that loads the model; `meanwhile` is done as it does, and may raise too. Raises ModelError."""
    try:
        begun = Beginning(plan)
        begun.greet()
    except ModelError:
        meanwhile()  # what looks at the interpreter says more of one that is none
        raise
    try:
        meanwhile()
    except BaseException:
        begun.end()
        raise
    return begun


def refuse_load(plan: WorkerPlan, error: Mapping[str, object]) -> ModelError:
    """Return the error for a model that a process could not load, with what it has raised."""
    where = "its restored environment" if plan.prefix else f"the environment of `{plan.python}`"
    said = " ".join(f"{error.get('type')}: {error.get('message')}".split())[:2000]
    return ModelError(
        f"`{plan.name}` cannot be loaded in {where}: {said}",
        hint=None if plan.prefix else "with `--restore` (`restore=True`) it is loaded in the environment that it names",
    )
