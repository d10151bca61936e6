"""The threads in which operations run for an event loop, and the moment when all of them are idle."""

from __future__ import annotations

import os
import threading

from core.concurrency import threadpool


def operations_have_ended(timeout: float = 30.0) -> None:
    """Return when no operation runs. Nobody may start one meanwhile.

    Cancelling the waiter of an operation does not stop it: it may still write when its connection has long ended. On
    PostgreSQL the flush after a test and such an operation wait for each other's tables, and one of them fails.
    """
    pool = threadpool._pool(os.getpid())
    if not pool._threads:
        return
    # Each thread has to come here: what was begun before is then over.
    gate = threading.Barrier(pool._max_workers + 1)
    for _ in range(pool._max_workers):
        pool.submit(gate.wait, timeout)
    gate.wait(timeout)
