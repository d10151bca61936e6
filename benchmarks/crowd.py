"""Calling a verb: by many threads at once, or by one, again and again."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable

#: How long a crowd calls.
SECS = 3


def callers(count: int, verb: Callable[[int], object]) -> float:
    """Calls a second, of `count` threads that call for `SECS` seconds."""
    from django.db import connections

    done, stop, start = [0] * count, threading.Event(), threading.Barrier(count + 1)

    def work(number: int) -> None:
        start.wait()
        while not stop.is_set():
            verb(number)
            done[number] += 1
        connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    stop.wait(SECS)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def tasks(count: int, verb: Callable[[int], Awaitable[object]]) -> float:
    """Calls a second, of `count` tasks of one event loop that call for `SECS` seconds."""

    async def work(number: int, until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            await verb(number)
            done += 1
        return done

    async def crowd() -> float:
        began = time.perf_counter()
        done = await asyncio.gather(*(work(number, began + SECS) for number in range(count)))
        return sum(done) / (time.perf_counter() - began)

    return asyncio.run(crowd())


def median_ms(verb: Callable[[], object], times: int = 200) -> float:
    """The median of single calls, one after another, in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        verb()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)
