"""Batch concurrent calls of one event loop. Calls that arrive while a batch runs wait for the next one.

The operation answers many questions at once (one query, one commit). It runs in one thread for all waiting callers, and
each caller gets its own answer. There is no timer: a lone call starts at once. Nothing is cached between batches, so an
answer is never older than its question.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from core.concurrency.threadpool import run_in_threadpool

Q = TypeVar("Q")
A = TypeVar("A")

#: Largest number of calls in one batch.
MOST_IN_BATCH = 128
#: Batches that run at once: one prepares while another waits for the database.
CONCURRENT_BATCHES = 2


class Batcher(Generic[Q, A]):
    """Batches calls: `await ask(question)` in any number of tasks, `operation(questions)` in a thread.

    The operation returns its answers in the order of the questions. An answer that is an exception is raised in its own
    caller. An exception that the operation itself raises reaches every caller of the batch.
    """

    def __init__(self, operation: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._operation = operation
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopBatcher[Q, A]] = WeakKeyDictionary()

    async def ask(self, question: Q) -> A:
        """Return the operation's answer to this question."""
        loop = asyncio.get_running_loop()
        batcher = self._by_loop.get(loop)
        if batcher is None:
            batcher = self._by_loop[loop] = _LoopBatcher(self._operation)
        return await batcher.join(question, loop)


class _LoopBatcher(Generic[Q, A]):
    """The waiting calls of one event loop."""

    def __init__(self, operation: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._operation = operation
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()  # The loop itself holds its tasks only weakly.

    def join(self, question: Q, loop: asyncio.AbstractEventLoop) -> asyncio.Future[A]:
        """Queue a question and return the future of its answer. A running task takes all waiting calls next."""
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answer))
        if self._running < CONCURRENT_BATCHES:
            self._running += 1
            task = loop.create_task(self._drive())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answer

    async def _drive(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MOST_IN_BATCH, len(self._waiting)))]
                answers: Sequence[A | Exception]
                try:
                    answers = await run_in_threadpool(self._operation, [question for question, _ in batch])
                    if len(answers) != len(batch):
                        raise RuntimeError(f"{len(answers)} answers to {len(batch)} questions")
                except Exception as error:  # No caller may be left to wait.
                    answers = [error] * len(batch)
                for (_, waiter), answer in zip(batch, answers, strict=True):
                    if waiter.done():  # The caller has left.
                        continue
                    if isinstance(answer, StopIteration):  # A future refuses StopIteration.
                        waiter.set_exception(RuntimeError("the operation ran out"))
                    elif isinstance(answer, Exception):
                        waiter.set_exception(answer)
                    else:
                        waiter.set_result(answer)
        finally:
            # Decrement here and not in a done callback: a call that joins between the two would wait for ever.
            self._running -= 1
