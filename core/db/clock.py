"""The database's clock. Deadlines are compared in SQL with it; two hosts' clocks are never compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, models
from django.db.models import Expression, ExpressionWrapper, F, Value
from django.db.models.functions import Now as DjangosNow


class Now(DjangosNow):
    """The database's time. On SQLite written just as Python's datetimes are, six digits or none.

    Django's own writes three digits there, and SQLite compares moments as text: `12:00:01.5` would be neither equal
    to nor after `12:00:01.500000`.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Milliseconds, padded to Python's form."""
        template = "REPLACE(STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW') || '000', '.000000', '')"
        return self.as_sql(compiler, connection, template=template, **context)


def database_now(now: datetime | None = None) -> Expression:
    """The database's time as an SQL expression; a test's `now` takes its place there."""
    if now is not None:
        return Value(now, output_field=models.DateTimeField())
    return Now()


def later(secs: float, now: datetime | None = None) -> Expression:
    """The database's time `secs` seconds from now (negative: ago)."""
    return shifted(database_now(now), secs)


def shifted(when: Any, secs: float) -> Expression:
    """An SQL moment, `secs` seconds later."""
    moved = when + Value(timedelta(seconds=secs), output_field=models.DurationField())
    return ExpressionWrapper(moved, output_field=models.DateTimeField())


def field_shifted(name: str, secs: float) -> Expression:
    """A column's moment, `secs` seconds later."""
    return shifted(F(name), secs)


def moment(at: datetime) -> str:
    """How every surface that programs read writes a time: RFC 3339, in UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_database_clock(now: datetime | None = None) -> datetime:
    """The database's time as a value, for what must be computed in Python from columns of one database."""
    if now is not None:
        return now
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT statement_timestamp()")
            told: datetime = cursor.fetchone()[0]
            return told
        cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")
        return datetime.fromisoformat(cursor.fetchone()[0])
