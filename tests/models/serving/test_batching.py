"""Requests gathered into calls of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from repro.formats.scoring import Array, Input, ScoringError, make_array, unpack
from repro.models.serving.batching import Batcher
from repro.models.serving.metrics import Metrics
from repro.models.worker_process import WorkerLostError


class Model:
    """Works when it is let, and keeps how many rows each call had."""

    workers = 1

    def __init__(self, answer: Callable[[list[float]], object] = list) -> None:
        self.calls: list[list[int]] = []
        self.answer = answer
        self.is_free = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.lost_on: float | None = None

    def has_room(self) -> bool:
        return self.is_free

    async def predict(
        self, inputs: Sequence[Input], params: Mapping[str, object] | None
    ) -> Sequence[object | Exception]:
        arrays = [each for each in inputs if isinstance(each, Array)]
        self.calls.append([each.shape[0] for each in arrays])
        self.is_free = False
        await self.gate.wait()
        self.is_free = True
        flats = [unpack(each.values, each.dtype) for each in arrays]
        if any(self.lost_on in flat for flat in flats):
            raise WorkerLostError("the worker has ended")
        return [self._ask(flat) for flat in flats]

    def _ask(self, flat: list[float]) -> object:
        try:
            return self.answer(flat)
        except ValueError as error:
            return ScoringError(str(error))


async def ask_all(batcher: Batcher, values: Sequence[float], timeout_s: float = 30.0) -> list[object]:
    inputs = [make_array([value], "inputs") for value in values]
    return await asyncio.gather(
        *(batcher.predict(each, None, timeout_s=timeout_s) for each in inputs), return_exceptions=True
    )


async def ask_while_busy(model: Model, batcher: Batcher, values: Sequence[float]) -> list[object]:
    """Ask for the first value, and for the others while that is worked on."""
    model.gate.clear()
    first = asyncio.ensure_future(ask_all(batcher, values[:1]))
    while not model.calls or model.is_free:
        await asyncio.sleep(0)
    others = asyncio.ensure_future(ask_all(batcher, values[1:]))
    await asyncio.sleep(0)
    model.gate.set()
    return [*await first, *await others]


def test_requests_that_wait_together_share_a_call_once_that_is_known_to_change_nothing() -> None:
    async def check() -> None:
        model, metrics = Model(), Metrics()
        batcher = Batcher(model, metrics)
        for _ in range(4):
            assert await ask_while_busy(model, batcher, [0, 1, 2, 3]) == [[0], [1], [2], [3]]
        assert model.calls == [[1], [3, 1, 1, 1]] * 4
        model.calls.clear()
        assert await ask_while_busy(model, batcher, [0, 1, 2, 3]) == [[0], [1], [2], [3]]
        assert (model.calls, metrics.gathered) == ([[1], [3]], 3)

    asyncio.run(check())


def test_requests_are_asked_alone_where_that_is_asked_for() -> None:
    async def check() -> None:
        model = Model()
        await ask_while_busy(model, Batcher(model, Metrics(), gather=False), [0, 1, 2])
        assert model.calls == [[1], [1], [1]]

    asyncio.run(check())


@pytest.mark.parametrize("answer", [lambda rows: [sum(rows)] * len(rows), lambda rows: {"mean": sum(rows)}])
def test_a_model_that_looks_at_other_rows_is_asked_alone(answer: Callable[[list[float]], object]) -> None:
    async def check() -> None:
        model, metrics, said = Model(answer), Metrics(), list[str]()
        batcher = Batcher(model, metrics, say=said.append)
        for _ in range(3):
            assert await ask_while_busy(model, batcher, [1, 2, 3]) == [answer([1]), answer([2]), answer([3])]
        assert [max(call) for call in model.calls[2:]] == [1] * len(model.calls[2:])
        assert (metrics.refusals_to_gather, len(said)) == (1, 1)

    asyncio.run(check())


def test_where_a_gathered_call_fails_each_request_has_its_own_answer() -> None:
    def answer(rows: list[float]) -> object:
        if 13 in rows:
            raise ValueError("thirteen")
        return list(rows)

    async def check() -> None:
        model = Model(answer)
        batcher = Batcher(model, Metrics())
        for _ in range(6):
            one, two, bad, three = await ask_while_busy(model, batcher, [1, 2, 13, 3])
            assert (one, two, three) == ([1], [2], [3])
            assert str(bad) == "thirteen"

    asyncio.run(check())


def test_a_request_that_ends_its_worker_costs_no_other_its_answer() -> None:
    async def check() -> None:
        model = Model()
        model.lost_on = 13
        batcher = Batcher(model, Metrics())
        one, two, bad = await ask_while_busy(model, batcher, [1, 2, 13])
        assert (one, two) == ([1], [2])
        assert isinstance(bad, ScoringError)
        assert (bad.status, bad.retry_after_s) == (503, 1)

    asyncio.run(check())


def test_a_full_queue_refuses_and_says_when_to_ask_again() -> None:
    async def check() -> None:
        model = Model()
        answers = await ask_while_busy(model, Batcher(model, Metrics(), most_waiting=2), [1, 2, 3, 4])
        assert answers[:3] == [[1], [2], [3]]
        assert isinstance(answers[3], ScoringError)
        assert (answers[3].status, answers[3].retry_after_s) == (503, 1)

    asyncio.run(check())


def test_a_request_whose_time_is_over_is_answered_and_not_asked() -> None:
    async def check() -> None:
        model = Model()
        model.gate.clear()
        batcher = Batcher(model, Metrics())
        answers = await ask_all(batcher, [1, 2], timeout_s=0.01)
        assert [each.status for each in answers if isinstance(each, ScoringError)] == [504, 504]
        model.gate.set()
        assert await ask_all(batcher, [3]) == [[3]]

    asyncio.run(check())
