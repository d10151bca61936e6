"""Set up a PostgreSQL connection: bound its waits for locks, and have no statement compiled.

A caller that waits too long for a lock gets an error and tries again. SQLite has its own `timeout` for this. Both take
the bound from `write_lock_secs`.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection as current
from django.db.backends.base.base import BaseDatabaseWrapper

from core.limits import LIMITS

#: The bound of each pooled connection, in milliseconds.
_bounds: WeakKeyDictionary[psycopg.Connection[Any], int] = WeakKeyDictionary()


def bound_connection(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Set up a new connection. Receives `connection_created`, sent at each loan of the pool.

    This is a statement and not a startup parameter: a pooler refuses startup parameters that it does not know.
    """
    if connection.vendor != "postgresql" or is_shared(connection):
        return
    driver, most = connection.connection, _milliseconds()
    if _bounds.get(driver) != most:
        with connection.cursor() as cursor:
            # PostgreSQL would compile (JIT) a count of a large table. That takes longer than any statement of ours.
            cursor.execute(f"SET lock_timeout = {most}; SET jit = off")
        _bounds[driver] = most


def bound_transaction() -> None:
    """Bound the lock waits of the open transaction. The next one may get another connection from a pooler."""
    if current.vendor == "postgresql" and is_shared(current):
        with current.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {_milliseconds()}")


def is_shared(connection: BaseDatabaseWrapper) -> bool:
    """Return True when a pooler shares the connection between transactions. See `config.settings`."""
    return connection.settings_dict["OPTIONS"].get("prepare_threshold") is None


def _milliseconds() -> int:
    most: float = LIMITS.write_lock_secs
    return round(1000 * most)
