"""Know how the process ends: well, by an exception, by a code of its own, by ctrl-C or by SIGTERM.

`atexit` does not say. So the excepthook is watched, and `sys.exit` (not a bare `raise SystemExit`), and SIGTERM where
nobody handles it: that would end the process before anything could be written. What was there before is called as it
was.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn

from repro.formats.run_meta import RunStatus

OnEnd = Callable[[RunStatus], None]
_EXIT = sys.exit


class _NotedExit(SystemExit):
    """What `sys.exit` raises while it is watched: one that is caught, and dropped by a program that goes on, says so.

    The interpreter drops the one that ends it when no frame is left.
    """

    def __init__(self, watch: ExitWatch, code: object) -> None:
        super().__init__(*([] if code is None else [code]))
        self._watch = watch

    def __reduce__(self) -> tuple[type[SystemExit], tuple[object, ...]]:
        """Be an ordinary one for another process, e.g. that of an executor which a worker has left."""
        return SystemExit, self.args

    def __del__(self) -> None:
        try:
            sys._getframe(1)
        except ValueError:
            return
        self._watch.forget()


class ExitWatch:
    """One watch of a process; `on_end` is called with the status that its runs deserve.

    A forked child has it too, for the runs that it has started itself: `on_end` leaves its parent's alone.
    """

    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end
        self._status = RunStatus.FINISHED

    def start(self) -> None:
        """Begin to watch; the signal only where this is the main thread, which alone may ask for it."""
        self._before_hook, self._before_exit = sys.excepthook, sys.exit
        sys.excepthook = self._note_exception
        sys.exit = self._note_exit
        atexit.register(self._end)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._note_termination)

    def forget(self) -> None:
        """Take it that the process goes on: whatever was noted did not end it."""
        self._status = RunStatus.FINISHED

    def _note_exception(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        self._status = RunStatus.KILLED if issubclass(kind, KeyboardInterrupt) else RunStatus.FAILED
        self._before_hook(kind, error, traceback)

    def _note_exit(self, code: object = None, /) -> NoReturn:
        self._status = RunStatus.FINISHED if code in (None, 0) else RunStatus.FAILED
        if self._before_exit is not _EXIT:
            self._before_exit(code)  # type: ignore[arg-type]
        raise _NotedExit(self, code)

    def _note_termination(self, number: int, frame: FrameType | None) -> None:
        """End the runs, and then the process as the signal would have, whether the runs could be ended or not."""
        try:
            self._on_end(RunStatus.KILLED)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def _end(self) -> None:
        self._on_end(self._status)
