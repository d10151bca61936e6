"""Concurrent calls of one event loop share a turn: who comes while a turn is under way goes with the next.

A verb that judges many at once (one query, one commit) is called for whoever waits, in one thread, and each caller gets
its own answer. There is no timer: who comes alone goes at once. Nothing is remembered from one turn to the next, so an
answer is never older than its question.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from core.concurrency.threadpool import in_thread

Q = TypeVar("Q")
A = TypeVar("A")

#: Calls of one turn.
MOST = 128
#: Turns under way at once: one prepares while another waits for the database.
LANES = 2


class Together(Generic[Q, A]):
    """`await ask(question)` in any number of tasks; `verb(questions)` in a thread, answers in the same order.

    An answer that is an exception is raised at its own caller; what the verb itself raises, at all of the turn.
    """

    def __init__(self, verb: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._verb = verb
        self._crowds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Crowd[Q, A]] = weakref.WeakKeyDictionary()

    async def ask(self, question: Q) -> A:
        """The verb's answer to this question."""
        loop = asyncio.get_running_loop()
        crowd = self._crowds.get(loop)
        if crowd is None:
            crowd = self._crowds[loop] = _Crowd(self._verb)
        return await crowd.join(question, loop)


class _Crowd(Generic[Q, A]):
    """Who waits on one event loop."""

    def __init__(self, verb: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._verb = verb
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._driving = 0
        self._lanes: set[asyncio.Task[None]] = set()  # The loop itself holds its tasks only weakly.

    def join(self, question: Q, loop: asyncio.AbstractEventLoop) -> asyncio.Future[A]:
        """The answer to come. A lane that still drives takes everybody who waits when its turn ends."""
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answer))
        if self._driving < LANES:
            self._driving += 1
            lane = loop.create_task(self._drive())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return answer

    async def _drive(self) -> None:
        try:
            while self._waiting:
                turn = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                answers = await self._answers([question for question, _ in turn])
                for (_, waiter), answer in zip(turn, answers, strict=True):
                    _tell(waiter, answer)
        finally:
            # Here, and not when the task is seen to be done: whoever joins between the two would wait for ever.
            self._driving -= 1

    async def _answers(self, questions: list[Q]) -> Sequence[A | Exception]:
        """One for each, whatever the verb did: who is told nothing would wait for ever."""
        try:
            answers = await in_thread(self._verb, questions)
            if len(answers) == len(questions):
                return answers
            raise RuntimeError(f"{len(answers)} answers to {len(questions)} questions")
        except Exception as error:
            return [error] * len(questions)


def _tell(waiter: asyncio.Future[Any], answer: Any) -> None:
    if waiter.done():  # Its caller has left.
        return
    if isinstance(answer, StopIteration):  # No future takes one.
        answer = RuntimeError("the verb ran out")
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
