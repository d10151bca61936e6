"""Run statements written by hand, where Django takes longer to build one than the database to answer it."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections

from core.db import locks

Row = tuple[Any, ...]
Params = Sequence[Any] | Mapping[str, Any]
P = ParamSpec("P")
T = TypeVar("T")
#: The longest wait for the server to take a cancellation.
CANCEL_SECS = 3.0


def run(statement: str, params: Params) -> list[Row]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        found: list[Row] = cursor.fetchall()
        return found


def run_each(statement: str, rows: Sequence[Params]) -> int:
    """Run a statement once with each of these parameters, and return the number of written rows."""
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return int(cursor.rowcount)


def run_prepared(statement: str, params: Params, *, binary: bool = True) -> list[Row]:
    """Run a statement with a constant text: PostgreSQL parses and plans it once, not at each call.

    A plan is used for `PLAN_SECS`. A plan made for an empty table scans all of it. Without this bound it would be kept
    while the table fills, until ANALYZE runs. Without `binary` the values come as from Django's own cursors.
    """
    database: Any = connections[DEFAULT_DB_ALIAS]
    if database.vendor != "postgresql":
        return run(statement, params)
    database.ensure_connection()
    database.validate_no_broken_transaction()
    with database.wrap_database_errors, psycopg.Cursor(database.connection) as cursor:
        _renew_plans(cursor)
        return cursor.execute(statement, params, prepare=True, binary=binary).fetchall()


def commits_at_once() -> bool:
    """Return True when `run_and_commit` may end this transaction: a PostgreSQL connection that no pooler shares."""
    shared = locks.is_shared(connection)
    return connection.vendor == "postgresql" and not shared and psycopg.Pipeline.is_supported()


def run_and_commit(statements: Sequence[tuple[str, Params]]) -> None:
    """Run the last statements of the open transaction, and COMMIT, in one round trip.

    The locks of the last statement are held while the database works, and not while this process waits for its turn.
    Raises what a statement or the COMMIT raises; then the transaction has failed. Django's own COMMIT, which follows,
    finds nothing to do.
    """
    database: Any = connections[DEFAULT_DB_ALIAS]
    database.validate_no_broken_transaction()
    with database.wrap_database_errors, psycopg.Cursor(database.connection) as cursor:
        _renew_plans(cursor)
        try:
            with database.connection.pipeline():
                for statement, params in statements:
                    cursor.execute(statement, params, prepare=True, binary=True)
                cursor.execute("COMMIT")
        except BaseException as error:
            if database.connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                raise _called_off(database.connection, error) from None
            raise


def _called_off(driver: psycopg.Connection[Any], error: BaseException) -> BaseException:
    """Cancel statements whose COMMIT waits at the server, and close the connection. Return the error that the wait met.

    A signal handler has raised during the wait, as for a task at its time limit. Left alone, the server would commit
    later what failed here. psycopg cancels for KeyboardInterrupt only, and its complaint about the busy connection,
    which looks like an outage, hides every other error.
    """
    with contextlib.suppress(psycopg.Error):
        driver.cancel_safe(timeout=CANCEL_SECS)
    driver.close()
    hidden = error.__context__ if isinstance(error, psycopg.OperationalError) else None
    return hidden or error


def uid(value: UUID | str | None) -> Any:
    """Return a UUID in this database's format."""
    if value is None or connection.features.has_native_uuid_field:
        return value
    return UUID(str(value)).hex


#: SQLSTATE classes about the values or the statement, not about the server.
_OF_ROWS = frozenset({"22", "23", "54"})


def blames_rows(error: Exception) -> bool:
    """Return True when an OperationalError is about the rows and not an outage: the rows would fail again."""
    return str(getattr(error.__cause__, "sqlstate", None))[:2] in _OF_ROWS


#: Error codes for a unique row that already exists.
_UNIQUE = frozenset({"23505", sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})


def once_more(operation: Callable[P, T]) -> Callable[P, T]:
    """Wrap an operation, which is one transaction, to run again when it meets a unique row that already exists.

    It lost a race: another writer committed the row after this one had looked. The second run sees that row.
    """

    @functools.wraps(operation)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(*args, **kwargs)
        except IntegrityError as error:
            code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "sqlite_errorcode", None)
            if code not in _UNIQUE or connection.in_atomic_block:
                raise
        return operation(*args, **kwargs)

    return run


PLAN_SECS = 1.0
#: Time at which each connection last dropped its plans.
_renewed: WeakKeyDictionary[psycopg.Connection[Any], float] = WeakKeyDictionary()


def _renew_plans(cursor: psycopg.Cursor[Any]) -> None:
    driver, now = cursor.connection, time.monotonic()
    if driver.prepare_threshold is None or now - _renewed.get(driver, -PLAN_SECS) < PLAN_SECS:
        return
    # Without this setting PostgreSQL plans for the values of each call when it estimates that as cheaper. Planning
    # takes longer than the statement itself. A rollback also reverts the setting, until the next renewal.
    cursor.execute("SET plan_cache_mode = force_generic_plan; DISCARD PLANS")
    _renewed[driver] = now
