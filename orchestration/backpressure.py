"""Slow a child down before it slows others: its share of the database, and of the memory for decoded frames.

A connection works freely within its budget. Beyond it, it works in the slow lane: one lane for all such connections of
the process, in the order of their coming, with a pause after each piece of work that is as long as the work. Meanwhile
its inbox fills, its socket is not read, and TCP makes the child wait. Nothing is refused.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from accounts.offload import in_thread

#: Units that a connection gets back each second, and the most that it can save up. A frame costs one unit, and one more
#: for each 16 events or 16 Ki characters.
UNITS_PER_SEC, SAVED_UNITS = 50, 200
EVENTS_PER_UNIT = 16
CHARACTERS_PER_UNIT = 16 * 1024
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.25
#: A frame of more characters is large: decoded, it may take ten times its text and more.
LARGE_CHARACTERS = 64 * 1024
LARGE_AT_ONCE = 4

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Lanes:
    """What the connections of one event loop share."""

    slow: asyncio.Lock = field(default_factory=asyncio.Lock)
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))


_lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Lanes] = weakref.WeakKeyDictionary()


def _shared() -> _Lanes:
    return _lanes.setdefault(asyncio.get_running_loop(), _Lanes())


class Budget:
    """The work that one connection may still do freely."""

    def __init__(self) -> None:
        self._units = float(SAVED_UNITS)
        self._at = time.monotonic()

    @property
    def is_free(self) -> bool:
        """Whether the next piece of work may run at once."""
        return self._units >= 0

    def spend(self, characters: int, events: int = 0) -> None:
        """Count a frame that was taken; what is overspent is paid back before anything is free again."""
        now = time.monotonic()
        self._units = min(SAVED_UNITS, self._units + (now - self._at) * UNITS_PER_SEC)
        self._at = now
        cost = 1 + characters / CHARACTERS_PER_UNIT + events / EVENTS_PER_UNIT
        self._units = max(self._units - cost, -SAVED_UNITS)

    async def run(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the operation in a thread: at once within the budget, else in the slow lane."""
        if self.is_free:
            return await in_thread(operation, *args, **kwargs)
        async with _shared().slow:
            began = time.monotonic()
            try:
                return await in_thread(operation, *args, **kwargs)
            finally:
                worked = time.monotonic() - began
                await asyncio.sleep(min(max(worked, SHORTEST_PAUSE), LONGEST_PAUSE))


@asynccontextmanager
async def room_for(text: str) -> AsyncIterator[None]:
    """Hold room while a frame is decoded and worked on: few large frames of a process are in memory at a time.

    Never hold it while a peer is written to: one that does not read would keep it from everybody.
    """
    if len(text) <= LARGE_CHARACTERS:
        yield
        return
    async with _shared().large:
        yield
