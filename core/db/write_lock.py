"""A fair queue for SQLite's one write lock, for the threads of one process.

SQLite gives the lock to the thread that happens to retry at the right moment. A thread that writes without a pause
keeps the others away for seconds. Here threads queue and get the lock in order of arrival. PostgreSQL queues by itself.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection

from core.limits import LIMITS


class _Turn:
    """A thread's place in the queue. Its lock is held until its turn comes."""

    __slots__ = ("came", "queue")

    def __init__(self, queue: _Queue) -> None:
        self.queue = queue
        self.came = threading.Lock()
        self.came.acquire()


class _Queue:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holder: _Turn | None = None
        self._waiting: deque[_Turn] = deque()

    def join(self, turn: _Turn) -> None:
        """Wait for the turn. Raises OperationalError when it does not come in time."""
        with self._guard:
            if self._holder is None:
                self._holder = turn
                return
            self._waiting.append(turn)
        if turn.came.acquire(timeout=LIMITS.write_lock_secs):
            return
        with self._guard:
            if self._holder is not turn:
                raise OperationalError("database is locked: too many writers wait")

    def leave(self, turn: _Turn) -> None:
        """Pass the turn to the next thread, or leave the queue. A second call does nothing."""
        with self._guard:
            if self._holder is not turn:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                return
            self._holder = self._waiting.popleft() if self._waiting else None
            if self._holder is not None:
                self._holder.came.release()


class _Mine(threading.local):
    turn: _Turn | None = None


_queue, _mine = _Queue(), _Mine()


def _forget() -> None:
    # A forked child has none of the waiting threads.
    global _queue, _mine
    _queue, _mine = _Queue(), _Mine()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def turn_to_write() -> Iterator[None]:
    """Hold the turn while a transaction writes. A thread inside a transaction already has it.

    Register `hand_on` as the first `on_commit` of that transaction.
    """
    if _mine.turn is not None or connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    turn = _Turn(_queue)
    try:
        # A signal handler may raise during the wait or just after it. The `finally` below returns the turn then.
        turn.queue.join(turn)
        _mine.turn = turn
        yield
    finally:
        if _mine.turn is turn:
            _mine.turn = None
        turn.queue.leave(turn)


def hand_on() -> None:
    """Pass this thread's turn to the next thread now, if it has one.

    Code that runs after COMMIT needs no write lock, and may wait long for a broker.
    """
    turn, _mine.turn = _mine.turn, None
    if turn is not None:
        turn.queue.leave(turn)
