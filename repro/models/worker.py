"""Ask a process that holds a model, one request at a time: it is started, asked and ended here.

Nothing that it sends is unpickled, and what is no frame, or no answer to what was asked, ends it.
"""

from __future__ import annotations

import builtins
import os
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from repro.errors import ModelError
from repro.inside import model_codec
from repro.inside.model_channel import Channel
from repro.models.worker_process import (
    LOAD_ID,
    Beginning,
    WorkerLostError,
    WorkerPlan,
    begin,
    explain_loss,
    refuse_load,
)
from repro.process import kill_group

_GRACE_S = 2.0
_OUR_ERRORS = (
    "repro_model_enforce.SchemaError",
    "repro_model_result.ResultError",
    "repro_model_table.TableError",
)

Buffers = Sequence[bytes | bytearray | memoryview]


class RemoteError(ModelError):
    """A model has raised an exception in its environment; `kind` is its class there, `traceback` that of over there.

    Where `kind` is built into Python, this is one of that class too: `except ValueError` works as without a process.
    """

    kind = ""
    traceback = ""

    def __str__(self) -> str:
        return f"{self.message}\n\nthe traceback in the model's environment:\n{self.traceback}"


@cache
def _find_class(kind: str) -> type[RemoteError]:
    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, Exception):
        with suppress(TypeError):  # some lay out their memory otherwise, or want more than a text
            made = type(RemoteError.__name__, (RemoteError, known), {})
            made("")
            return made
    return RemoteError


def _read_error(error: object) -> Exception:
    said = error if isinstance(error, dict) else {}
    kind, message = str(said.get("type")), str(said.get("message"))
    if kind in _OUR_ERRORS:
        return ModelError(message)
    if kind == "TypeError" and "cannot cross" in message:
        return TypeError(message)
    found = _find_class(kind)(f"{kind}: {message}")
    found.kind, found.traceback = kind, str(said.get("traceback"))
    return found


def _end(process: subprocess.Popen[bytes], channel: Channel, owner: int) -> None:
    """Let a process end, and make it after a moment, with all that it has started."""
    if os.getpid() != owner:  # a fork's copy: it is not ours to end
        return
    channel.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.2)
    if process.returncode is None:
        kill_group(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)


class Worker:
    """A process with a model; several threads may ask it, one at a time. It ends when nobody has this any more."""

    def __init__(self, begun: Beginning) -> None:
        self._plan = begun.plan
        self._process = begun.process
        self._channel = begun.channel
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._number = LOAD_ID
        self.facts: Mapping[str, Any] = begun.ready
        """What the process has said of itself and of the model: `prefix`, `python`, `pid`, `class`, `flavor`."""
        self._finalizer = weakref.finalize(self, _end, self._process, self._channel, self._owner)

    @property
    def is_open(self) -> bool:
        """Tell whether it can be asked."""
        return self._finalizer.alive

    def _lose(self, error: BaseException) -> WorkerLostError:
        """End the process, for nobody knows what it would say next, and return why."""
        lost = explain_loss(self._plan, self._process, error)
        self.close()
        return lost

    def hear_loaded(self) -> None:
        """Wait until the process has the model. Raises ModelError, and has ended the process then."""
        try:
            header, _ = self._hear()
            if "error" in header:
                raise refuse_load(self._plan, header["error"])
        except BaseException:
            self.close()
            raise
        self.facts = {**self.facts, **header}

    def _check(self) -> None:
        if os.getpid() != self._owner:
            raise ModelError(
                f"the model `{self._plan.name}` was loaded in the process {self._owner}, and this is a fork of it",
                hint="load it again here, or start processes with `spawn`",
            )
        if not self.is_open:
            raise WorkerLostError(f"the model `{self._plan.name}` is closed", hint="load it again")

    def _hear(
        self, request: Mapping[str, object] | None = None, buffers: Buffers = ()
    ) -> tuple[dict[str, Any], Buffers]:
        """Return the answer to a request, which is sent first, or to the last one."""
        try:
            if request is not None:
                self._channel.send({"id": self._number, **request}, buffers)
            header, received = self._channel.receive(looks=True)
            if header.get("id") != self._number:
                raise ValueError("it answers another request")
        except (EOFError, ValueError, OSError, RecursionError, MemoryError) as error:
            raise self._lose(error) from error
        except BaseException:
            self.close()
            raise
        return header, received

    def _exchange(self, request: Mapping[str, object], buffers: Buffers) -> tuple[dict[str, Any], Buffers]:
        """Return the answer. One that is interrupted ends the process: it would be taken for the next one's."""
        with self._lock:
            self._check()
            self._number += 1
            header, received = self._hear(request, buffers)
            self._channel.give_back(header.get("free") is True)
            return header, received

    def ask(self, op: str, fields: Mapping[str, object], buffers: Buffers = ()) -> tuple[dict[str, Any], Buffers]:
        """Return the answer to a request. Raises what the model has raised, as RemoteError, and WorkerLostError."""
        header, received = self._exchange({"op": op, **fields}, buffers)
        if "error" in header:
            raise _read_error(header["error"])
        return header, received

    def decode(self, header: Mapping[str, Any], buffers: Buffers) -> object:
        """Return the value of an answer.

        Raises ModelError for one that the libraries here cannot hold, WorkerLostError for what none of us has written.
        """
        try:
            return model_codec.decode(header["value"], buffers)
        except model_codec.CannotHoldError as error:
            raise ModelError(
                f"the answer of the model `{self._plan.name}` cannot be held by the libraries here: {error}"
            ) from None
        except (KeyError, ValueError, RecursionError, MemoryError) as error:
            raise self._lose(error) from error

    def close(self) -> None:
        """End the process with all that it has started; closing twice is fine."""
        self._finalizer()


def begin_worker(plan: WorkerPlan, meanwhile: Callable[[], object] = lambda: None) -> Worker:
    """Return a process that loads the model; `meanwhile` is done as it does, and may raise too. Raises ModelError."""
    return Worker(begin(plan, meanwhile))


def start_worker(plan: WorkerPlan) -> Worker:
    """Return a process that holds the model. Raises ModelError."""
    worker = begin_worker(plan)
    worker.hear_loaded()
    return worker
