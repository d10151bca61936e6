"""Batch concurrent calls of one event loop. Calls that arrive while a batch runs wait for the next one.

The operation answers many questions at once (one query, one commit). It runs in one thread for all waiting callers, and
each caller gets its own answer. There is no timer: a lone call starts at once. Nothing is cached between batches, so an
answer is never older than its question.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from core.concurrency.threadpool import run_in_threadpool

Q = TypeVar("Q")
A = TypeVar("A")

#: Largest number of calls in one batch.
MOST = 128
#: Batches that run at once: one prepares while another waits for the database.
LANES = 2


class Together(Generic[Q, A]):
    """Batches calls: `await ask(question)` in any number of tasks, `verb(questions)` in a thread.

    The operation returns its answers in the order of the questions. An answer that is an exception is raised in its own
    caller. An exception that the operation itself raises reaches every caller of the batch.
    """

    def __init__(self, verb: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._verb = verb
        self._crowds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Crowd[Q, A]] = weakref.WeakKeyDictionary()

    async def ask(self, question: Q) -> A:
        """Return the operation's answer to this question."""
        loop = asyncio.get_running_loop()
        crowd = self._crowds.get(loop)
        if crowd is None:
            crowd = self._crowds[loop] = _Crowd(self._verb)
        return await crowd.join(question, loop)


class _Crowd(Generic[Q, A]):
    """The waiting calls of one event loop."""

    def __init__(self, verb: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._verb = verb
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._driving = 0
        self._lanes: set[asyncio.Task[None]] = set()  # The loop itself holds its tasks only weakly.

    def join(self, question: Q, loop: asyncio.AbstractEventLoop) -> asyncio.Future[A]:
        """Queue a question and return the future of its answer. A running lane takes all waiting calls when its batch
        ends.
        """
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
            # Decrement here and not in a done callback: a call that joins between the two would wait for ever.
            self._driving -= 1

    async def _answers(self, questions: list[Q]) -> Sequence[A | Exception]:
        """Return one answer for each question, also when the operation fails. No caller is left to wait."""
        try:
            answers = await run_in_threadpool(self._verb, questions)
            if len(answers) == len(questions):
                return answers
            raise RuntimeError(f"{len(answers)} answers to {len(questions)} questions")
        except Exception as error:
            return [error] * len(questions)


def _tell(waiter: asyncio.Future[Any], answer: Any) -> None:
    if waiter.done():  # The caller has left.
        return
    if isinstance(answer, StopIteration):  # A future refuses StopIteration.
        answer = RuntimeError("the verb ran out")
    if isinstance(answer, Exception):
        waiter.set_exception(answer)
    else:
        waiter.set_result(answer)
