"""Gather requests that wait at the same time into one call of the model.

Nobody waits for company while a worker is idle. When a call has ended, those it has answered are given a moment, a
fraction of what a call takes, to come back, so that they and those who wait are one call and not two. Only rows of one
kind are gathered. A model may answer a row otherwise when it stands beside others (a mean over all rows, or the last
bit of a matrix product), so the first gathered calls of a kind, and some later ones, are asked one by one as well: at
the first difference that kind is asked alone from then on.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repro.formats.scoring import TIMEOUT_TEXT, Array, Frame, Input, ScoringError, count_rows, find_kind, join_inputs
from repro.models.serving.metrics import Metrics
from repro.models.serving.served import Scorer
from repro.models.worker_process import WorkerLostError

BUDGET_S = 0.05
_TRIALS = 4
_TRIAL_EVERY = 256
_PATIENCE, _LEAST_PATIENCE = 0.5, 1 / 8
_TRY_AGAIN_EVERY = 16
_MOST_ALONE = 8
_MOST_KINDS = 256
_FEWEST_ROWS, _MOST_ROWS = 16, 65_536


@dataclass(slots=True)
class _Item:
    input: Input
    params: Mapping[str, object] | None
    kind: object
    rows: int
    answer: asyncio.Future[object]


@dataclass(slots=True)
class _Trust:
    """How far a kind of rows is known to be answered the same beside others."""

    trials_left: int = _TRIALS
    calls: int = 0
    is_alone: bool = False

    def needs_trial(self) -> bool:
        self.calls += 1
        return self.trials_left > 0 or self.calls % _TRIAL_EVERY == 0


def _write(answer: object) -> str:
    return json.dumps(answer, sort_keys=True, default=repr)


def _split(answer: object, items: Sequence[_Item]) -> list[object] | None:
    """Return each request's part of a joined answer, None where it is not one value for each row."""
    if not isinstance(answer, list) or len(answer) != sum(item.rows for item in items):
        return None
    parts: list[object] = []
    start = 0
    for item in items:
        parts.append(answer[start : start + item.rows])
        start += item.rows
    return parts


def _lose(error: WorkerLostError) -> ScoringError:
    return ScoringError(f"{error}; ask again", status=503, error_code="TEMPORARILY_UNAVAILABLE", retry_after_s=1)


class Batcher:
    """Ask a scorer for many requests at a time; `most_waiting` may wait, those that come after them are refused."""

    def __init__(
        self,
        scorer: Scorer,
        metrics: Metrics,
        *,
        gather: bool = True,
        most_waiting: int = 512,
        budget_s: float = BUDGET_S,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._scorer = scorer
        self._metrics = metrics
        self._gather = gather
        self._most_waiting = most_waiting
        self._budget_s = budget_s
        self._say = say
        self._queue: deque[_Item] = deque()
        self._trusts: dict[object, _Trust] = {}
        self._most_rows = 1024
        self._expected = 0
        self._hold: asyncio.TimerHandle | None = None
        self._patience = _PATIENCE
        self._holds_begun = 0
        self._is_scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def predict(self, input_: Input, params: Mapping[str, object] | None, *, timeout_s: float) -> object:
        """Return the model's answer, as JSON can say it. Raises ScoringError."""
        if len(self._queue) >= self._most_waiting:
            self._drop_answered()
        if len(self._queue) >= self._most_waiting:
            raise ScoringError(
                f"{self._most_waiting} requests wait already", status=503, error_code="TEMPORARILY_UNAVAILABLE",
                retry_after_s=1,
            )  # fmt: skip
        loop = asyncio.get_running_loop()
        kind = find_kind(input_) if self._gather and params is None else None
        item = _Item(input_, params, kind, count_rows(input_), loop.create_future())
        timer = loop.call_later(timeout_s, self._expire, item)
        self._queue.append(item)
        self._metrics.rows += item.rows
        self.wake()
        try:
            return await item.answer
        finally:
            timer.cancel()

    def _drop_answered(self) -> None:
        self._queue = deque(item for item in self._queue if not item.answer.done())

    @staticmethod
    def _expire(item: _Item) -> None:
        if not item.answer.done():
            error = ScoringError(TIMEOUT_TEXT, status=504, error_code="DEADLINE_EXCEEDED", is_text=True)
            item.answer.set_exception(error)

    def wake(self) -> None:
        """Look for work at the end of this turn of the loop, when all that has come is in the queue."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _holds(self) -> bool:
        """Tell whether those just answered are still given time to come back; the less of it, the less they do."""
        if self._hold is None:
            return False
        if len(self._queue) < self._expected:
            return True
        self._patience = _PATIENCE
        self._hold.cancel()
        self._hold = None
        return False

    def _end_hold(self) -> None:
        self._hold = None
        self._patience = max(_LEAST_PATIENCE, self._patience / 2)
        self.wake()

    def _begin_hold(self, answered: int, took_s: float) -> None:
        if self._hold is not None:
            self._hold.cancel()
        self._expected = answered + len(self._queue)
        self._holds_begun += 1
        patience = _PATIENCE if self._holds_begun % _TRY_AGAIN_EVERY == 0 else self._patience
        pause_s = min(self._budget_s, patience * took_s)
        self._hold = asyncio.get_running_loop().call_later(pause_s, self._end_hold)

    def _dispatch(self) -> None:
        self._is_scheduled = False
        while self._queue and self._scorer.has_room() and not self._holds():
            if items := self._take():
                task = asyncio.get_running_loop().create_task(self._ask(items))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return self.wake() if self._queue else None  # the task takes the room in this turn
        self._metrics.waiting = len(self._queue)
        return None

    def _find_trust(self, kind: object) -> _Trust:
        if kind not in self._trusts and len(self._trusts) >= _MOST_KINDS:
            self._trusts.clear()
        return self._trusts.setdefault(kind, _Trust())

    def _take(self) -> list[_Item]:
        """Take the oldest request, and those that can share its call."""
        self._drop_answered()
        if not self._queue:
            return []
        first = self._queue.popleft()
        if first.kind is None:
            return [first]
        if self._find_trust(first.kind).is_alone:
            most = min(_MOST_ALONE, 1 + len(self._queue) // self._scorer.workers)
            return [first, *self._pick(first.kind, most - 1, _MOST_ROWS)]
        return [first, *self._pick(first.kind, len(self._queue), self._most_rows - first.rows)]

    def _pick(self, kind: object, most: int, rows: int) -> list[_Item]:
        picked: list[_Item] = []
        left: deque[_Item] = deque()
        for item in self._queue:
            if item.kind == kind and len(picked) < most and item.rows <= rows:
                picked.append(item)
                rows -= item.rows
            else:
                left.append(item)
        self._queue = left
        return picked

    async def _ask(self, items: list[_Item]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._answer(items)
        except WorkerLostError as error:
            self._settle(items, [_lose(error)] * len(items))
        except Exception as error:
            self._settle(items, [error] * len(items))
            raise
        finally:
            took = loop.time() - began
            self._adapt(items, took)
            if self._gather:
                self._begin_hold(len(items), took)
            self.wake()

    def _adapt(self, items: Sequence[_Item], took_s: float) -> None:
        """Have fewer rows in a call that takes longer than the budget, more where a full one does not."""
        if len(items) > 1 and took_s > self._budget_s:
            self._most_rows = max(_FEWEST_ROWS, self._most_rows // 2)
        elif sum(item.rows for item in items) * 2 > self._most_rows:
            self._most_rows = min(_MOST_ROWS, self._most_rows * 2)

    async def _answer(self, items: list[_Item]) -> None:
        if len(items) == 1:
            return await self._ask_alone(items)
        trust = self._find_trust(items[0].kind)
        if trust.is_alone:
            return await self._ask_alone(items)
        joined = join_inputs([item.input for item in items])
        if trust.needs_trial():
            return await self._try(items, joined, trust)
        self._metrics.calls += 1
        try:
            (answer,) = await self._scorer.predict([joined], None)
        except WorkerLostError:
            return await self._ask_alone(items, apart=True)  # one of them may be why
        parts = None if isinstance(answer, Exception) else _split(answer, items)
        if parts is None:
            return await self._ask_alone(items)
        self._metrics.gathered += len(items)
        return self._settle(items, parts)

    async def _try(self, items: list[_Item], joined: Array | Frame, trust: _Trust) -> None:
        """Ask together and one by one, answer with the latter, and note whether they are the same."""
        self._metrics.calls += 1 + len(items)
        try:
            together, *singles = await self._scorer.predict([joined, *(item.input for item in items)], None)
        except WorkerLostError:
            return await self._ask_alone(items, apart=True)
        self._settle(items, singles)
        if any(isinstance(each, Exception) for each in singles):
            return None  # it may be the request that is wrong: nothing is learnt
        parts = None if isinstance(together, Exception) else _split(together, items)
        if parts is not None and all(map(lambda a, b: _write(a) == _write(b), parts, singles)):
            trust.trials_left -= 1
        else:
            trust.is_alone = True
            self._metrics.refusals_to_gather += 1
            self._say("the model answers rows otherwise when others stand beside them: each request is asked alone")
        return None

    async def _ask_alone(self, items: list[_Item], *, apart: bool = False) -> None:
        """Ask one by one; `apart` in calls of their own, so that one that ends its worker costs no other its answer."""
        self._metrics.calls += len(items)
        if not apart:
            answers = await self._scorer.predict([item.input for item in items], items[0].params)
            return self._settle(items, answers)
        for item in items:
            try:
                self._settle([item], await self._scorer.predict([item.input], None))
            except WorkerLostError as error:
                self._settle([item], [_lose(error)])
        return None

    @staticmethod
    def _settle(items: Sequence[_Item], answers: Sequence[object]) -> None:
        for item, answer in zip(items, answers, strict=True):
            if item.answer.done():
                continue
            if isinstance(answer, Exception):
                item.answer.set_exception(answer)
            else:
                item.answer.set_result(answer)

    async def drain(self) -> None:
        """Wait for the calls that are under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
