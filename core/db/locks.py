"""No statement waits without end for a lock of PostgreSQL: who waits too long is told to come again.

SQLite has its own `timeout` for that. Both take it from `write_lock_secs`.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import connection as current
from django.db.backends.base.base import BaseDatabaseWrapper

#: The bound that each connection of the pool has, in milliseconds.
_bounds: WeakKeyDictionary[psycopg.Connection[Any], int] = WeakKeyDictionary()


def bound_connection(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Bound the waits of a new connection. A receiver of `connection_created`, which comes at each loan of the pool.

    A statement and not a parameter of the connection's start: a pooler refuses those that it does not know.
    """
    if connection.vendor != "postgresql" or _is_shared(connection):
        return
    line, most = connection.connection, _milliseconds()
    if _bounds.get(line) != most:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {most}")
        _bounds[line] = most


def bound_transaction() -> None:
    """Bound the waits of the open transaction, where a pooler gives the next one another connection."""
    if current.vendor == "postgresql" and _is_shared(current):
        with current.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {_milliseconds()}")


def _is_shared(connection: BaseDatabaseWrapper) -> bool:
    """Whether a pooler hands the connection to others between two transactions; see `config.settings`."""
    return connection.settings_dict["OPTIONS"].get("prepare_threshold") is None


def _milliseconds() -> int:
    most: float = settings.WARDROOM["write_lock_secs"]
    return round(1000 * most)
