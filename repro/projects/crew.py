"""Do many jobs, some at a time, each in a thread; the thread that asks hears of each, and ends them all."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue

from repro.errors import Terminated
from repro.kinds import Generic, TypeVar
from repro.process import GRACE_S, Leash

_PAUSE_S = 0.2
Job = TypeVar("Job")
Message = TypeVar("Message")


class Crew(Generic[Job, Message]):
    """Some threads, each doing one job after another until none is left or the leash is pulled.

    `do` gets a job and what to tell messages with. What it raises is raised where `run` is called.
    """

    def __init__(
        self, jobs: Iterable[Job], do: Callable[[Job, Callable[[Message], None]], None], *, size: int, leash: Leash
    ) -> None:
        self._waiting = deque(jobs)
        self._do = do
        self._leash = leash
        self._said: SimpleQueue[Message | BaseException | None] = SimpleQueue()
        count = min(size, len(self._waiting))
        # Not daemons: no child may be left without the thread that waits for it.
        self._threads = [threading.Thread(target=self._work, name=f"repro-job-{at}") for at in range(count)]

    def _work(self) -> None:
        try:
            while not self._leash.is_pulled:
                try:
                    job = self._waiting.popleft()
                except IndexError:
                    break
                self._do(job, self._said.put)
        except BaseException as error:
            self._said.put(error)
        finally:
            self._said.put(None)

    def _end(self) -> None:
        """End what is being done, within a grace period; whoever interrupts that makes it end at once."""
        deadline = time.monotonic() + GRACE_S
        try:
            self._leash.pull()
            for thread in filter(threading.Thread.is_alive, self._threads):
                thread.join(max(0.0, deadline - time.monotonic()))
        finally:
            while any(thread.is_alive() for thread in self._threads):
                with suppress(KeyboardInterrupt, Terminated):
                    self._leash.pull(hard=True)
                    for thread in filter(threading.Thread.is_alive, self._threads):
                        thread.join(_PAUSE_S)

    def run(self, hear: Callable[[Message], None]) -> None:
        """Do the jobs; `hear` gets each message, in the calling thread.

        What interrupts this, or is raised in a job or by `hear`, ends all that is being done before it goes on.
        """
        at_work = 0
        try:
            for thread in self._threads:
                thread.start()
                at_work += 1
            while at_work:
                match self._said.get():
                    case None:
                        at_work -= 1
                    case BaseException() as error:
                        raise error
                    case message:
                        hear(message)
        except BaseException:
            self._end()
            self._drain(hear)
            raise

    def _drain(self, hear: Callable[[Message], None]) -> None:
        """Hear what was said at the end."""
        while not self._said.empty():
            message = self._said.get()
            if message is not None and not isinstance(message, BaseException):
                hear(message)
