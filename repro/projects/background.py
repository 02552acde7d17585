"""Run a project in a process of its own, for a caller that goes on.

It has one end of a pair of sockets. A request comes in, and what becomes of it goes out, as pickles: both ends are one
version of repro on one machine. When the other end is closed its caller is gone, however it has ended, and so the run
ends as KILLED.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
from types import FrameType

from repro import settings
from repro.environments.machine import Machine
from repro.errors import ReproError, Terminated
from repro.projects.request import RunRequest
from repro.projects.result import RunResult
from repro.projects.run import run_project
from repro.values import frozen


@frozen
class Order:
    """What a caller sends: the request, and the directory of its cache where it names one."""

    request: RunRequest
    cache: str | None


@frozen
class RunBegun:
    """The run exists."""

    run_id: str


@frozen
class RunEnded:
    """The run ended by itself."""

    result: RunResult


@frozen
class RunRefused:
    """It could not be run, before the run existed or after."""

    error: ReproError


Answer = RunBegun | RunEnded | RunRefused


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _on_terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what is being ended must not be torn
    raise Terminated


def _end_with(caller: socket.socket) -> None:
    """End this process when nobody is at the other end any more."""
    while True:
        try:
            if caller.recv(1):
                continue
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        return


def _send(caller: socket.socket, answer: Answer) -> None:
    try:
        caller.sendall(pickle.dumps(answer))
    except OSError:
        return  # the caller is gone: what watches it ends us


def _run(order: Order, caller: socket.socket) -> Answer:
    environ = settings.own_environment()
    machine = Machine.here(cache=order.cache, environ=environ, echo=_note if settings.is_verbose(environ) else None)
    try:
        result = run_project(
            machine, order.request, say=_note, note_begun=lambda info: _send(caller, RunBegun(run_id=info.run_id))
        )
    except ReproError as error:
        return RunRefused(error=error)
    except OSError as error:
        return RunRefused(error=ReproError(f"the operating system refused: {error}"))
    return RunEnded(result=result)


def main(descriptor: int) -> int:
    """Run what the other end asks for, and tell it how that went."""
    signal.signal(signal.SIGTERM, _on_terminate)
    with socket.socket(fileno=descriptor) as caller:
        with caller.makefile("rb") as orders:
            order: Order = pickle.load(orders)
        threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
        try:
            answer = _run(order, caller)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        except Terminated:
            return 143
        _send(caller, answer)
    return 0
