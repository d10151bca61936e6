"""Wake-ups without data between processes, over Redis pub/sub. A lost one adds latency and loses no data."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.limits import LIMITS

CHANNEL = "wardroom:wake-ups"
#: The topic of commits with events of Wardroom's own, or with deliveries.
DELIVERIES = "deliveries"
BRAKE_SECS = 2.0
log = logging.getLogger(__name__)
_silent_until = 0.0
_is_away = False


@functools.cache
def _client(pid: int) -> redis.Redis:
    # One client per process. By default redis-py 8 retries ten times, which takes minutes with a server that hangs.
    # So there are no retries, and a deadline of our own.
    wait = LIMITS.wakeup_timeout_secs
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=wait, socket_connect_timeout=wait, retry=Retry(NoBackoff(), 0)
    )


class _Publisher:
    """A connection that only sends. Redis is told not to answer, so a wake-up costs one write and no wait."""

    def __init__(self, client: redis.Redis) -> None:
        self.lock = threading.Lock()
        self._connection: Any = client.connection_pool.make_connection()
        self._open = False

    def publish(self, topics: str) -> None:
        """Publish the topics. The caller must hold the lock."""
        if self._open:
            # Redis never answers here, so readable data means the end of the connection.
            try:
                has_ended = bool(self._connection.can_read(timeout=0))
            except (redis.RedisError, OSError):
                has_ended = True
            if has_ended:
                self._close()
        try:
            if not self._open:
                self._connection.connect()
                self._connection.send_command("CLIENT", "REPLY", "OFF")
                self._open = True
            self._connection.send_command("PUBLISH", CHANNEL, topics)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._open = False
        self._connection.disconnect()


@functools.cache
def _publisher(client: redis.Redis) -> _Publisher:
    return _Publisher(client)


def publish(topics: Iterable[str]) -> bool:
    """Send the topics. Return False if Redis did not take them; the listeners' own polls then find the work.

    After a failure nothing is sent for two seconds, so that a server that hangs does not slow every commit.
    """
    global _silent_until, _is_away
    publisher = _publisher(_client(os.getpid()))
    with publisher.lock:
        if time.monotonic() < _silent_until:
            return False
        try:
            publisher.publish("\n".join(topics))
        except (redis.RedisError, OSError) as error:
            _silent_until = time.monotonic() + BRAKE_SECS
            if not _is_away:
                log.warning("wake-ups are not sent (%s): the polls will find the work", type(error).__name__)
            _is_away = True
            return False
        if _is_away:
            log.warning("wake-ups are sent again")
        _is_away = False
    return True


def ping() -> None:
    """Raise unless Redis answers."""
    _client(os.getpid()).ping()
