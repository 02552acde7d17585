"""Hold a run that goes on while its caller does other things: wait for it, ask how it stands, end it.

The run is in a process of its own, so that several work at once and the caller's interrupts, working directory and
threads are its own affair. It never outlives its caller.
"""

from __future__ import annotations

import atexit
import pickle
import socket
import threading
import weakref
from contextlib import suppress
from pathlib import Path

from repro import settings
from repro.errors import ReproError
from repro.formats.run_meta import RunStatus
from repro.process import Runner, Started
from repro.projects.background import Answer, Order, RunBegun, RunEnded, RunRefused
from repro.projects.result import RunResult
from repro.tracking.clock import now_ms
from repro.tracking.store import Store, open_store

# The working directory is looked in last: a module of the caller's project may be named as one of the standard library.
_MAIN = """\
import sys
sys.path.append(sys.path.pop(0))
from repro.projects.background import main
sys.exit(main(int(sys.argv[1])))
"""


class RunHandle:
    """A run that was started; `run_id` is known at once."""

    def __init__(self, process: Started, channel: socket.socket, store: Store) -> None:
        self._process = process
        self._channel = channel
        self._store = store
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._answer: RunEnded | RunRefused | None = None
        self._is_cancelled = False
        self.run_id = ""
        self._thread = threading.Thread(target=self._listen, name="repro-run", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<RunHandle {self.run_id} {self.status}>"

    def _hear(self, answer: Answer) -> None:
        if isinstance(answer, RunBegun):
            self.run_id = answer.run_id
            self._begun.set()
        else:
            self._answer = answer

    def _listen(self) -> None:
        """Hear what the process says until it has ended."""
        with self._channel, self._channel.makefile("rb") as answers, suppress(EOFError, OSError, pickle.PickleError):
            while True:
                self._hear(pickle.load(answers))
        self._process.wait()
        if self.run_id and self._answer is None:
            self._end_left_behind()
        self._ended.set()
        self._begun.set()

    def _end_left_behind(self) -> None:
        """End the run of a process that was killed."""
        with suppress(ReproError):
            if self._store.get_run(self.run_id).info.status is RunStatus.RUNNING:
                self._store.update_run(self.run_id, status=RunStatus.KILLED, end_time_ms=now_ms())

    def wait_for_begin(self) -> None:
        """Return when the run exists. Raises ReproError where it cannot."""
        self._begun.wait()
        if not self.run_id:
            raise self._answer.error if isinstance(self._answer, RunRefused) else ReproError("the run was not begun")

    @property
    def status(self) -> RunStatus:
        """How the run stands: RUNNING, and at its end FINISHED, FAILED or KILLED."""
        if not self._ended.is_set():
            return RunStatus.RUNNING
        if isinstance(self._answer, RunEnded):
            return self._answer.result.status
        return RunStatus.FAILED if isinstance(self._answer, RunRefused) else RunStatus.KILLED

    def wait(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the run's end and return how it ended.

        Raises TimeoutError where it has not ended after `timeout_s` seconds, and ReproError for one whose environment
        could not be made, and for one that was cancelled.
        """
        if not self._ended.wait(timeout_s):
            raise TimeoutError(f"the run `{self.run_id}` has not ended within {timeout_s:g} s")
        if isinstance(self._answer, RunEnded):
            return self._answer.result
        if isinstance(self._answer, RunRefused):
            raise self._answer.error
        how = "was cancelled" if self._is_cancelled else "was killed"
        raise ReproError(f"the run `{self.run_id}` {how} before its end")

    def cancel(self) -> None:
        """End the run's whole process group, and return when it has ended; one that has already stays as it is."""
        self._is_cancelled = True
        self._process.terminate()
        self._ended.wait()


_handles: weakref.WeakSet[RunHandle] = weakref.WeakSet()


@atexit.register
def _cancel_all() -> None:
    """End what the caller has left behind, all at once."""
    waiting = [each for each in _handles if each.status is RunStatus.RUNNING]
    threads = [threading.Thread(target=each.cancel) for each in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def start_run(runner: Runner, order: Order) -> RunHandle:
    """Start a run in a process of its own, and return once the run exists. Raises ReproError where it cannot."""
    environ = settings.own_environment()
    store = open_store(settings.find_tracking_uri(environ), cwd=Path.cwd())
    ours, theirs = socket.socketpair()
    with theirs:
        args = [settings.own_python(), "-c", _MAIN, str(theirs.fileno())]
        process = runner.start(args, env=environ, pass_fds=(theirs.fileno(),))
    ours.sendall(pickle.dumps(order))
    handle = RunHandle(process, ours, store)
    _handles.add(handle)
    handle.wait_for_begin()
    return handle
