"""The few SQL fragments that differ between the two databases, and helpers to run a statement that returns rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Func, IntegerField

from core.db.clock import overridden
from core.db.sql import Row, run, run_each, run_prepared

__all__ = [
    "Bytes",
    "Fragment",
    "Row",
    "among",
    "at",
    "for_update",
    "marks",
    "moment",
    "run",
    "run_each",
    "run_prepared",
    "together",
    "uid",
]


class Bytes(Func):
    """The number of bytes of a text. PostgreSQL knows it without reading the text."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Cast to BLOB: SQLite counts the characters of a text."""
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


# The format of Python's datetimes, because SQLite compares moments as text. See core.db.clock.Now.
SQLITE_NOW = "replace(strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s) || '000', '.000000', '')"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL and its parameters."""

    text: str
    params: tuple[Any, ...] = ()


def at(plus: float = 0.0) -> Fragment:
    """Return the database's time, plus `plus` seconds, as it is stored."""
    if now := overridden():
        return Fragment("%s", (moment(now + timedelta(seconds=plus)),))
    if connection.vendor == "postgresql":
        if not plus:
            return Fragment("statement_timestamp()")
        return Fragment("(statement_timestamp() + %s * interval '1 second')", (float(plus),))
    return Fragment(SQLITE_NOW, (f"{plus:+.3f} seconds",))


def moment(value: datetime | None) -> Any:
    """Return a moment in this database's format."""
    return connection.ops.adapt_datetimefield_value(value)


def timestamp() -> str:
    """Return a placeholder for a moment that may be null. PostgreSQL needs the type, because a bare NULL has none."""
    return "%s::timestamptz" if connection.vendor == "postgresql" else "%s"


def uid(value: UUID | None) -> Any:
    """Return a UUID in this database's format."""
    if value is None or connection.features.has_native_uuid_field:
        return value
    return value.hex


def for_update() -> str:
    """Return the clause that locks a subquery's rows. SQLite has one writer at a time and needs none."""
    return "FOR UPDATE" if connection.features.has_select_for_update else ""


def marks(values: Sequence[Any]) -> str:
    """Return one placeholder for each value."""
    return ", ".join(["%s"] * len(values))


def among(column: str, values: Collection[Any]) -> Fragment:
    """Match rows with one of these values in the column. On PostgreSQL it is one parameter: the same statement for any
    number.
    """
    listed = list(values)
    if connection.vendor == "postgresql":
        return Fragment(f"{column} = ANY(%s)", (listed,))
    return Fragment(f"{column} IN ({marks(listed)})", tuple(listed))


def one_of(subquery: str) -> str:
    """Match a key against a few keys. PostgreSQL gets an array, so that it never scans the whole table."""
    return f"= ANY(ARRAY({subquery}))" if connection.vendor == "postgresql" else f"IN ({subquery})"


def together(parts: Mapping[str, Fragment], last: Fragment) -> Fragment:
    """Join several statements into one. Each may read the results of the statements before it, by their names."""
    named = ", ".join(f"{name} AS MATERIALIZED ({part.text})" for name, part in parts.items())
    params = (value for part in (*parts.values(), last) for value in part.params)
    return Fragment(f"WITH {named} {last.text}", tuple(params))
