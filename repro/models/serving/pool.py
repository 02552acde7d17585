"""The workers of a server: each asked one call after the other, replaced when it ends, ended when it takes too long."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from repro.errors import ReproError
from repro.formats.scoring import Input
from repro.models.serving.metrics import Metrics
from repro.models.worker_process import WorkerLostError

_LONGEST_PAUSE_S = 10.0


class Link(Protocol):
    """One worker that has the model."""

    async def predict(
        self, inputs: Sequence[Input], params: Mapping[str, object] | None
    ) -> Sequence[object | Exception]:
        """Ask once for each input. Raises WorkerLostError."""

    async def wait(self) -> str:
        """Wait for its end, and say how it ended."""

    def kill(self) -> None:
        """End it at once."""

    async def close(self) -> None:
        """Let it end, and make it after a moment."""


class Pool:
    """Keep `workers` workers; `start` makes one ready. A call that takes longer than `most_s` ends its worker."""

    def __init__(
        self,
        start: Callable[[], Awaitable[Link]],
        metrics: Metrics,
        *,
        workers: int,
        most_s: float,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._start = start
        self._metrics = metrics
        self._most_s = most_s
        self._say = say
        self.workers = workers
        self.wake: Callable[[], None] = lambda: None  # told that there is room
        self._idle: deque[Link] = deque()
        self._links: set[Link] = set()
        self._room = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def is_ready(self) -> bool:
        """Tell whether any worker has the model."""
        return bool(self._links)

    def has_room(self) -> bool:
        """Tell whether a worker is idle."""
        return bool(self._idle)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def open(self) -> None:
        """Start all workers. Raises what the first that fails raises; none is left then."""
        found = await asyncio.gather(*(self._start() for _ in range(self.workers)), return_exceptions=True)
        links = [each for each in found if not isinstance(each, BaseException)]
        for error in found:
            if isinstance(error, BaseException):
                await asyncio.gather(*(link.close() for link in links))
                raise error
        for link in links:
            self._take_in(link)

    def _take_in(self, link: Link) -> None:
        self._links.add(link)
        self._metrics.ready_workers = len(self._links)
        self._keep(asyncio.get_running_loop().create_task(self._watch(link)))
        self._free(link)

    def _free(self, link: Link) -> None:
        if link not in self._links:
            return
        self._idle.append(link)
        self._keep(asyncio.get_running_loop().create_task(self._tell()))
        self.wake()

    async def _tell(self) -> None:
        async with self._room:
            self._room.notify()

    async def _watch(self, link: Link) -> None:
        """Replace a worker when it ends."""
        reason = await link.wait()
        self._links.discard(link)
        self._metrics.ready_workers = len(self._links)
        with contextlib.suppress(ValueError):
            self._idle.remove(link)
        if self._is_closing:
            return
        self._metrics.lost_workers += 1
        self._say(f"{reason}: another is started")
        await self._replace()

    async def _replace(self) -> None:
        pause_s = 0.1
        while not self._is_closing:
            try:
                link = await self._start()
            except (ReproError, OSError, WorkerLostError) as error:
                self._say(f"no worker can be started: {error}")
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
                continue
            if self._is_closing:
                await link.close()
            else:
                self._take_in(link)
            return

    async def predict(
        self, inputs: Sequence[Input], params: Mapping[str, object] | None
    ) -> Sequence[object | Exception]:
        """Ask the model once for each input, by the next worker that is idle. Raises WorkerLostError."""
        if not self._idle:
            async with self._room:
                await self._room.wait_for(self.has_room)
        link = self._idle.popleft()
        timer = asyncio.get_running_loop().call_later(self._most_s, link.kill)
        try:
            return await link.predict(inputs, params)
        except WorkerLostError:
            self._links.discard(link)  # it may take a moment until its end is seen
            raise
        finally:
            timer.cancel()
            self._free(link)

    async def close(self) -> None:
        """End all workers."""
        self._is_closing = True
        await asyncio.gather(*(link.close() for link in list(self._links)), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
