"""Concurrent calls share a batch: each gets its own answer, and none waits for a batch that is not needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from core.concurrency import batching
from core.concurrency.batching import Batcher
from tests.waiting import all_have_begun

pytestmark = pytest.mark.once


class Operation:
    """Doubles numbers, refuses negative ones; every turn waits until it is let go."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.go = Event()

    def __call__(self, questions: Any) -> list[Any]:
        self.turns.append(list(questions))
        assert self.go.wait(10)
        return [ValueError(each) if each < 0 else 2 * each for each in questions]


@pytest.fixture
def operation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(batching, "CONCURRENT_BATCHES", 1)
    made = Operation()
    yield made
    made.go.set()


async def asked(batcher: Any, *questions: Any) -> Any:
    """The questions as tasks that have begun to wait."""
    tasks = [asyncio.create_task(batcher.ask(each)) for each in questions]
    await all_have_begun()
    return tasks


async def test_who_comes_alone_goes_at_once(operation: Any) -> None:
    operation.go.set()
    batcher = Batcher(operation)
    assert [await batcher.ask(1), await batcher.ask(2)] == [2, 4]
    assert operation.turns == [[1], [2]]


async def test_who_comes_meanwhile_goes_with_the_next_turn_in_order(operation: Any) -> None:
    batcher = Batcher(operation)
    first = await asked(batcher, 1)
    others = await asked(batcher, 2, 3, 4)
    operation.go.set()
    assert await asyncio.gather(*first, *others) == [2, 4, 6, 8]
    assert operation.turns == [[1], [2, 3, 4]]


async def test_a_turn_is_bounded(operation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_IN_BATCH", 2)
    batcher = Batcher(operation)
    tasks = await asked(batcher, 1) + await asked(batcher, 2, 3, 4)
    operation.go.set()
    await asyncio.gather(*tasks)
    assert operation.turns == [[1], [2, 3], [4]]


async def test_a_refusal_is_its_own_callers(operation: Any) -> None:
    operation.go.set()
    batcher = Batcher(operation)
    answers = await asyncio.gather(*(batcher.ask(each) for each in (1, -1, 2)), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 4) and isinstance(answers[1], ValueError)


async def test_a_verb_that_breaks_is_told_to_each_and_the_next_turn_comes() -> None:
    calls = []

    def operation(questions: Any) -> Any:
        calls.append(questions)
        if len(calls) == 1:
            raise RuntimeError("broken")
        return questions

    batcher = Batcher(operation)
    answers = await asyncio.gather(batcher.ask(1), batcher.ask(2), return_exceptions=True)
    assert {type(each) for each in answers} == {RuntimeError}
    assert await batcher.ask(3) == 3


@pytest.mark.parametrize(
    "breaks", [lambda _: next(iter(())), lambda _: [1], lambda each: [StopIteration()] * len(each), lambda _: None]
)
async def test_nobody_waits_for_ever_however_a_verb_breaks(breaks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "CONCURRENT_BATCHES", 1)
    batcher = Batcher(breaks)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(batcher.ask(1), batcher.ask(2), return_exceptions=True)
        assert {type(each) for each in answers} <= {RuntimeError, TypeError}


async def test_who_has_left_costs_the_others_nothing(operation: Any) -> None:
    batcher = Batcher(operation)
    [_, gone, stays] = await asked(batcher, 1) + await asked(batcher, 2, 3)
    gone.cancel()
    operation.go.set()
    assert await stays == 6


def test_each_event_loop_has_its_own_crowd(operation: Any) -> None:
    operation.go.set()
    batcher = Batcher(operation)
    assert [asyncio.run(batcher.ask(each)) for each in (1, 2)] == [2, 4]
