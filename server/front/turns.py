"""Bound Django's concurrent requests: each one needs a thread, a database connection and its files.

Turns go round by caller, not by request: one caller with five hundred requests does not block another, and no caller
holds more than a quarter of the turns. Reads and writes have separate turns, so a wait for the write lock blocks no
reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator

from core.limits import LIMITS
from core.web import problems
from server.front import pressure

READS = {"GET", "HEAD", "OPTIONS"}

#: The waiting requests of one caller, oldest first.
Queue = OrderedDict[asyncio.Future[None], None]


class Turns:
    """Admits a number of requests at once. Later ones wait for a bounded time in a bounded queue."""

    def __init__(self) -> None:
        self._in_use = 0
        self._held: Counter[str] = Counter()
        self._count = 0
        self._waiting: OrderedDict[str, Queue] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Hold one turn. Raise 503 when none comes in time, or too many wait."""
        await self._take(caller)
        try:
            yield
        finally:
            self._give_back(caller)

    async def _take(self, caller: str) -> None:
        most = most_at_once()
        if self._in_use < most and self._held[caller] < share(most):
            return self._start(caller)
        if self._count >= LIMITS.waiting_requests:
            # All places are taken. The newest request of the caller with most waiting requests gives way.
            pressure.note("waiting_requests")
            refusal = problems.busy("Too many requests wait for their turn.")
            longest = max(self._waiting.values(), key=len, default=OrderedDict())
            if len(self._waiting.get(caller, ())) + 1 >= len(longest):
                raise refusal
            newest, _ = longest.popitem()
            self._count -= 1
            if not newest.done():
                newest.set_exception(refusal)
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, OrderedDict())[place] = None
        self._count += 1
        try:
            async with asyncio.timeout(LIMITS.turn_secs):
                await place
        except BaseException as error:
            requests = self._waiting.get(caller, OrderedDict())
            if place in requests:
                del requests[place]
                self._count -= 1
                if not requests:
                    del self._waiting[caller]
            elif place.done() and not place.cancelled() and place.exception() is None:
                # The turn arrived at the same moment: pass it on.
                self._give_back(caller)
            if not isinstance(error, TimeoutError):
                raise
            pressure.note("turn_secs")
            raise problems.busy("No turn came in time.") from None

    def _start(self, caller: str) -> None:
        self._in_use += 1
        self._held[caller] += 1

    def _give_back(self, caller: str) -> None:
        """Pass this turn to the next entitled caller, and move that caller behind the others."""
        self._in_use -= 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        most = most_at_once()
        while self._in_use < most:
            # Few are skipped: the number of callers with a full share is at most the number of shares.
            following = next((each for each in self._waiting if self._held[each] < share(most)), None)
            if following is None:
                return
            requests = self._waiting.pop(following)
            first, _ = requests.popitem(last=False)
            self._count -= 1
            if requests:
                self._waiting[following] = requests
            if not first.done():
                self._start(following)
                first.set_result(None)


def share(most: int) -> int:
    """Return the most turns that one caller may hold."""
    return max(1, most // 4)


def most_at_once() -> int:
    """Return the setting, or less when the limit of open files is lower."""
    wanted: int = LIMITS.requests_at_once
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(2, min(wanted, files // 32))
