"""The database's clock. Deadlines are compared with it in SQL. The clocks of two hosts are never compared.

Only tests set another time, by `clock_at`. It replaces the database's clock in this context: in this thread, or in this
task and the threads that it runs functions in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, models
from django.db.models import Expression, ExpressionWrapper, Value
from django.db.models.functions import Now as DjangosNow

_override: ContextVar[datetime | None] = ContextVar("clock_override", default=None)


@contextmanager
def clock_at(moment: datetime | None) -> Iterator[None]:
    """Replace the database's clock by this moment. None changes nothing."""
    token = _override.set(moment or _override.get())
    try:
        yield
    finally:
        _override.reset(token)


def overridden() -> datetime | None:
    """Return the moment that a test has set, or None: then the database's clock counts."""
    return _override.get()


def parameter() -> Any:
    """Return the parameter `now` of a statement written by hand: a test's moment, or None for the database's clock."""
    return connection.ops.adapt_datetimefield_value(_override.get())


class Now(DjangosNow):
    """The database's time. On SQLite it has the form of Python's datetimes, with six digits or none.

    Django's own `Now` writes three digits there, and SQLite compares times as text: `12:00:01.5` would be neither equal
    to nor after `12:00:01.500000`.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Write milliseconds, padded to Python's form."""
        template = "REPLACE(STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW') || '000', '.000000', '')"
        return self.as_sql(compiler, connection, template=template, **context)


def database_now() -> Expression:
    """Return the database's time as an SQL expression."""
    moment = _override.get()
    return Now() if moment is None else Value(moment, output_field=models.DateTimeField())


def later(secs: float, moment: datetime | None = None) -> Expression:
    """Return the database's time plus `secs` seconds as an SQL expression. Negative seconds lie in the past.

    A sweep judges all its rows by the `moment` at which it began.
    """
    return shifted(database_now() if moment is None else Value(moment, output_field=models.DateTimeField()), secs)


def shifted(when: Any, secs: float) -> Expression:
    """Return an SQL time plus `secs` seconds."""
    moved = when + Value(timedelta(seconds=secs), output_field=models.DurationField())
    return ExpressionWrapper(moved, output_field=models.DateTimeField())


def moment(at: datetime) -> str:
    """Format a time for programs: RFC 3339, in UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_database_clock() -> datetime:
    """Return the database's time as a value, to compute in Python with columns of the same database."""
    if there := _override.get():
        return there
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT statement_timestamp()")
            now_there: datetime = cursor.fetchone()[0]
            return now_there
        cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")
        return datetime.fromisoformat(cursor.fetchone()[0])
