"""Data-free wake-ups between processes, over Redis pub/sub. Losing one costs latency, never data."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Iterable

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

CHANNEL = "wardroom:nudges"
BRAKE_SECS = 2.0
log = logging.getLogger(__name__)
_silent_until = 0.0


@functools.cache
def _client(pid: int) -> redis.Redis:
    # One client per process. redis-py 8 retries ten times by default, which turns a server that hangs into
    # minutes of waiting: no retries, and a deadline of our own.
    wait = settings.WARDROOM["nudge_timeout_secs"]
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=wait, socket_connect_timeout=wait, retry=Retry(NoBackoff(), 0)
    )


def publish(topics: Iterable[str]) -> bool:
    """Send the topics; False when Redis would not take them (the listeners' own polls find the work).

    After a failure nothing is tried for two seconds, so that a server that hangs does not slow every commit.
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        _client(os.getpid()).publish(CHANNEL, "\n".join(topics))
    except (redis.RedisError, OSError) as error:
        _silent_until = time.monotonic() + BRAKE_SECS
        log.warning("nudge not sent (%s): the polls will find the work", type(error).__name__)
        return False
    return True


def ping() -> None:
    """Raise unless Redis answers."""
    _client(os.getpid()).ping()
