"""Django's requests take turns: each in flight costs a thread, a database connection and its files.

Callers take turns, not requests, so that one with five hundred requests does not keep another one waiting for all of
them. Reading and writing have turns of their own: who waits for a write lock keeps no reader waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from django.conf import settings

from accounts import problems
from config.front import pressure

READS = {"GET", "HEAD", "OPTIONS"}


class Turns:
    """So many requests at once; who comes later waits, a bounded time and among a bounded number."""

    def __init__(self) -> None:
        self._running = 0
        self._count = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Hold one turn. Raise 503 when none comes in time, or too many wait."""
        await self._take(caller)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, caller: str) -> None:
        if self._running < most_at_once() and not self._waiting:
            self._running += 1
            return
        if self._count >= settings.WARDROOM["waiting_requests"]:
            pressure.note("waiting_requests")
            raise problems.busy("Too many requests wait for their turn.")
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(mine)
        self._count += 1
        try:
            async with asyncio.timeout(settings.WARDROOM["turn_secs"]):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # The turn came at the same moment.
            if not isinstance(error, TimeoutError):
                raise
            pressure.note("turn_secs")
            raise problems.busy("No turn came in time.") from None

    def _pass_on(self) -> None:
        """Give this turn to the next caller's first request, and put that caller behind the others."""
        while self._waiting:
            caller, requests = self._waiting.popitem(last=False)
            first = requests.popleft()
            self._count -= 1
            if requests:
                self._waiting[caller] = requests
            if not first.done():
                first.set_result(None)
                return
        self._running -= 1


def most_at_once() -> int:
    """The setting, or what the limit of open files bears."""
    wanted: int = settings.WARDROOM["requests_at_once"]
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(2, min(wanted, files // 32))
