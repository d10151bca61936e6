"""Turns at SQLite's one write lock, for the threads of one process.

SQLite lets go first whoever tries again at the right moment: a thread that writes without a pause keeps the others
away for seconds. Here they queue, and the lock is handed on in the order of their coming. PostgreSQL queues by itself.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import OperationalError, connection


class _Queue:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def join(self) -> None:
        """Wait for the turn. Raises OperationalError when it does not come in time."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=settings.WARDROOM["write_lock_secs"]):
            return
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                raise OperationalError("database is locked: too many wait to write")

    def leave(self) -> None:
        """Hand the turn to the next thread."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class _Mine(threading.local):
    held = False


_queue, _mine = _Queue(), _Mine()


def _forget() -> None:
    # A fork has none of the threads that wait.
    global _queue, _mine
    _queue, _mine = _Queue(), _Mine()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def turn_to_write() -> Iterator[None]:
    """Hold the turn while a transaction writes. Who is in a transaction has it already."""
    if _mine.held or connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    queue = _queue
    queue.join()
    _mine.held = True
    try:
        yield
    finally:
        _mine.held = False
        queue.leave()
