"""Slow a busy child down before it slows others: limit its share of the database and of memory for decoded frames.

A connection works freely within its budget. Beyond the budget it works in the slow lane. All such connections of the
process share one lane, first come, first served, with a pause after each piece of work that is as long as the work.
Meanwhile its inbox fills, its socket is not read, and TCP makes the child wait. Nothing is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar
from uuid import UUID

from core.concurrency.threadpool import run_in_threadpool
from core.db import sql
from core.limits import LIMITS
from orchestration.connections.transport import CloseConnection
from wardroom.protocol import Close

#: The units that a connection earns each second, and the most that it can save. A frame costs one unit, and one more
#: for each 16 events or 4 Ki characters. A frame of 1 MiB uses up all saved units.
UNITS_PER_SEC, SAVED_UNITS = 50, 200
EVENTS_PER_UNIT = 16
CHARACTERS_PER_UNIT = 4 * 1024
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 1.0
#: A frame of more characters is large: decoded, it may take ten times the memory of its text or more.
LARGE_CHARACTERS = 64 * 1024
LARGE_AT_ONCE = 4
#: The sockets of one session that a process serves at a time. One is live; others are opening or closing.
SOCKETS_PER_SESSION = 8
#: The connections of one session to a process: this many at once, then one a second. Each adds two events to the feed.
CONNECTIONS_SAVED, CONNECTIONS_PER_SEC = 60, 1.0
RETRY_SECS = 10
REMEMBERED_SESSIONS = 10_000

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Lanes:
    """The locks that the connections of one event loop share."""

    slow: asyncio.Lock = field(default_factory=asyncio.Lock)
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))


_lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Lanes] = weakref.WeakKeyDictionary()


def _shared() -> _Lanes:
    return _lanes.setdefault(asyncio.get_running_loop(), _Lanes())


class Budget:
    """The work that one connection may still do without delay."""

    def __init__(self) -> None:
        self._units = float(SAVED_UNITS)
        self._at = time.monotonic()
        self._has_room = False

    @property
    def is_free(self) -> bool:
        """True if the next piece of work may run at once."""
        return self._units >= 0

    def spend(self, characters: int, events: int = 0) -> None:
        """Charge for a frame. A negative balance must be earned back before the next work is free."""
        now = time.monotonic()
        self._units = min(SAVED_UNITS, self._units + (now - self._at) * UNITS_PER_SEC)
        self._at = now
        cost = 1 + characters / CHARACTERS_PER_UNIT + events / EVENTS_PER_UNIT
        self._units = max(self._units - cost, -SAVED_UNITS)

    async def run(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the operation in a thread: at once within the budget, else in the slow lane.

        Retry once after a lost race.
        """
        if self.is_free or self._has_room:
            return await run_in_threadpool(sql.once_more(operation), *args, **kwargs)
        async with _slow_lane():
            return await run_in_threadpool(sql.once_more(operation), *args, **kwargs)

    @asynccontextmanager
    async def room_for(self, text: str) -> AsyncIterator[None]:
        """Charge for a frame, and reserve memory while it is decoded and handled.

        Few large frames are in memory at once. Take the lane first, then the memory, and never wait for the lane while
        holding memory: a child beyond its budget would keep the memory from children within theirs. Never hold it while
        writing to a peer, for the same reason.
        """
        self.spend(len(text))
        if len(text) <= LARGE_CHARACTERS:
            yield
            return
        async with contextlib.nullcontext() if self.is_free else _slow_lane(), _shared().large:
            self._has_room = True
            try:
                yield
            finally:
                self._has_room = False


@asynccontextmanager
async def _slow_lane() -> AsyncIterator[None]:
    """Hold the slow lane, and pause before releasing it."""
    async with _shared().slow:
        began = time.monotonic()
        try:
            yield
        finally:
            worked = time.monotonic() - began
            await asyncio.sleep(min(max(worked, SHORTEST_PAUSE), LONGEST_PAUSE))


_handshakes: Counter[str] = Counter()
_sockets: Counter[UUID] = Counter()
_connections: dict[UUID, tuple[float, float]] = {}


@contextmanager
def count_socket(session: UUID) -> Iterator[None]:
    """Count one open socket of the session. Raises CloseConnection 4429 when it has too many in this process."""
    if _sockets[session] >= SOCKETS_PER_SESSION:
        raise CloseConnection(
            Close.TOO_MANY, f"retry after {RETRY_SECS} seconds: {SOCKETS_PER_SESSION} sockets are open"
        )
    with _counted(_sockets, session):
        yield


@contextmanager
def count_handshake(address: str) -> Iterator[None]:
    """Count one token check of a handshake. Raises CloseConnection 1013 when too many are running already."""
    total: int = LIMITS.unproven_handshakes
    per_address: int = LIMITS.unproven_handshakes_per_address
    if _handshakes.total() >= total or _handshakes[address] >= per_address:
        raise CloseConnection(Close.TRY_AGAIN, "retry after 2 seconds: too many connections wait for authentication")
    with _counted(_handshakes, address):
        yield


@contextmanager
def _counted(counts: Counter[T], key: T) -> Iterator[None]:
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


def count_connection(session: UUID) -> None:
    """Count a connection that is about to become live.

    Raises CloseConnection 4429 when the session reconnects too often.
    """
    now = time.monotonic()
    if len(_connections) >= REMEMBERED_SESSIONS:
        full = CONNECTIONS_SAVED / CONNECTIONS_PER_SEC
        for known in [known for known, (_, at) in _connections.items() if now - at > full]:
            del _connections[known]
    saved, at = _connections.get(session, (float(CONNECTIONS_SAVED), now))
    saved = min(CONNECTIONS_SAVED, saved + (now - at) * CONNECTIONS_PER_SEC)
    if saved < 1:
        raise CloseConnection(Close.TOO_MANY, f"retry after {RETRY_SECS} seconds: too many connections")
    _connections[session] = (saved - 1, now)
