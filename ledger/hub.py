"""The hub: one Redis subscription per process, and a local registry of listeners and their topics.

    async with hub.get().listen("session:...", "feed:...") as subscription:
        while True:
            await subscription.wait(timeout=5.0)    # True: woken; False: the poll behind it
            ...read the rows...

Wake-ups that come while the listener is busy are merged into one. A listener that reads its rows and then waits misses
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ledger.wakeups import CHANNEL

log = logging.getLogger(__name__)
RECONNECT_SECS = 0.5


class Subscription:
    """The wake-up flag of one listener."""

    def __init__(self) -> None:
        self._flag = asyncio.Event()
        self._heard: set[str] = set()

    @property
    def is_woken(self) -> bool:
        """True if the next wait returns at once."""
        return self._flag.is_set()

    def wake(self, topic: str = "") -> None:
        """Wake it now, or when it next waits."""
        self._heard.add(topic)
        self._flag.set()

    async def wait(self, timeout: float) -> bool:
        """Return True if woken since the last wait, False after `timeout` seconds without a wake-up."""
        try:
            async with asyncio.timeout(timeout):
                await self._flag.wait()
        except TimeoutError:
            return False
        self._flag.clear()
        return True

    def heard_only(self, topic: str) -> bool:
        """Return True if all wake-ups since the last call were of this topic, and there was one.

        A reconnect of the hub wakes for every topic.
        """
        heard, self._heard = self._heard, set()
        return heard == {topic}


class Hub:
    """The one subscription of this event loop to the wake-ups."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_away = False

    @asynccontextmanager
    async def listen(self, *topics: str) -> AsyncIterator[Subscription]:
        """Register a listener. Do it before reading the rows, so that later commits wake it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._receive(), name="hub")
        subscription = Subscription()
        for topic in topics:
            self._subscriptions.setdefault(topic, set()).add(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                listeners = self._subscriptions.get(topic, set())
                listeners.discard(subscription)
                if not listeners:
                    self._subscriptions.pop(topic, None)

    def deliver(self, topics: list[str]) -> None:
        """Wake all listeners of these topics."""
        for topic in topics:
            for subscription in self._subscriptions.get(topic, ()):
                subscription.wake(topic)

    def wake_all(self) -> None:
        """Wake every listener, so that it reads its rows again."""
        for listeners in self._subscriptions.values():
            for subscription in listeners:
                subscription.wake()

    async def _receive(self) -> None:
        while True:
            try:
                await self._subscribed()
            except (redis.RedisError, OSError, TimeoutError) as error:
                # Once, not twice a second.
                if not self._is_away:
                    log.warning("the hub lost Redis (%s): polling, and reconnecting", type(error).__name__)
                self._is_away = True
            await asyncio.sleep(RECONNECT_SECS)

    async def _subscribed(self) -> None:
        # socket_timeout=None: otherwise redis-py 8 closes a quiet channel after 5 s.
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=None,
            socket_connect_timeout=2,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(CHANNEL)
                if self._is_away:
                    log.warning("the hub has Redis again")
                self._is_away = False
                self.wake_all()
                while True:
                    message = await channel.get_message(timeout=10)
                    if message is not None:
                        self.deliver(message["data"].decode().split("\n"))
        finally:
            await client.aclose()


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def get() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
