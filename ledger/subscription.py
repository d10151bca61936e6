"""Wake-ups without an event loop: one Redis subscription for the time of the wait.

    with subscription.to("ask:...") as listener:
        while not done():
            listener.wait(timeout=5.0)    # True: woken; False: the poll behind it

A web process uses its hub; this is for a program that waits by itself. Without Redis it only polls.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from core.limits import LIMITS
from ledger.wakeups import CHANNEL

log = logging.getLogger(__name__)


class Subscription:
    """The subscription of one listener to one topic."""

    def __init__(self, topic: str, channel: PubSub | None) -> None:
        self._topic = topic
        self._channel = channel

    def wait(self, timeout: float) -> bool:
        """Return True if woken since the last wait, False after `timeout` seconds without a wake-up."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            if self._channel is None:
                time.sleep(left)
                continue
            try:
                message = self._channel.get_message(ignore_subscribe_messages=True, timeout=left)
            except (redis.RedisError, OSError) as error:
                log.warning("no wake-ups (%s): the poll goes on", type(error).__name__)
                self._channel = None
                continue
            if message is not None and self._topic in message["data"].decode().split("\n"):
                return True
        return False


@contextmanager
def to(topic: str) -> Iterator[Subscription]:
    """Subscribe from now on: commits after this wake the listener. Without Redis, nothing wakes it."""
    secs = LIMITS.wakeup_timeout_secs
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=secs, socket_connect_timeout=secs, retry=Retry(NoBackoff(), 0)
    )
    try:
        channel: PubSub | None = None
        try:
            asked: PubSub = client.pubsub()  # type: ignore[no-untyped-call]
            asked.subscribe(CHANNEL)
            asked.get_message(timeout=secs)  # Redis has confirmed it.
            channel = asked
        except (redis.RedisError, OSError) as error:
            log.warning("no wake-ups (%s): the poll goes on", type(error).__name__)
        yield Subscription(topic, channel)
    finally:
        client.close()
