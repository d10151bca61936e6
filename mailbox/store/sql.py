"""The few SQL fragments that our two databases spell differently, and running a statement that returns rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Func, IntegerField

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
    """How many bytes a text has. PostgreSQL knows it without reading the text."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """SQLite counts characters, but for a blob."""
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


# As Python writes its datetimes, for SQLite compares moments as text; see core.db.clock.Now.
SQLITE_NOW = "replace(strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s) || '000', '.000000', '')"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL and the parameters that belong in it."""

    text: str
    params: tuple[Any, ...] = ()


def at(now: datetime | None = None, plus: float = 0.0) -> Fragment:
    """The database's time, `plus` seconds from now, as it is stored; a test's `now` takes its place."""
    if now is not None:
        return Fragment("%s", (moment(now + timedelta(seconds=plus)),))
    if connection.vendor == "postgresql":
        if not plus:
            return Fragment("statement_timestamp()")
        return Fragment("(statement_timestamp() + %s * interval '1 second')", (float(plus),))
    return Fragment(SQLITE_NOW, (f"{plus:+.3f} seconds",))


def moment(value: datetime | None) -> Any:
    """A moment as this database keeps it."""
    return connection.ops.adapt_datetimefield_value(value)


def timestamp() -> str:
    """A placeholder for a moment that may be null. PostgreSQL is told the type, because a bare NULL has none."""
    return "%s::timestamptz" if connection.vendor == "postgresql" else "%s"


def uid(value: UUID | None) -> Any:
    """A UUID as this database keeps it."""
    if value is None or connection.features.has_native_uuid_field:
        return value
    return value.hex


def for_update() -> str:
    """Lock what a subquery reads. SQLite has one writer at a time and needs no word for it."""
    return "FOR UPDATE" if connection.features.has_select_for_update else ""


def marks(values: Sequence[Any]) -> str:
    """As many placeholders as there are values."""
    return ", ".join(["%s"] * len(values))


def among(column: str, values: Collection[Any]) -> Fragment:
    """The column is one of these. On PostgreSQL one parameter, so that the statement is the same for any number."""
    listed = list(values)
    if connection.vendor == "postgresql":
        return Fragment(f"{column} = ANY(%s)", (listed,))
    return Fragment(f"{column} IN ({marks(listed)})", tuple(listed))


def one_of(subquery: str) -> str:
    """That a key is one of these few. PostgreSQL is given an array, for which it never reads the whole table."""
    return f"= ANY(ARRAY({subquery}))" if connection.vendor == "postgresql" else f"IN ({subquery})"


def together(parts: Mapping[str, Fragment], last: Fragment) -> Fragment:
    """Several statements as one, of which each may read what the ones before it return, by their names."""
    named = ", ".join(f"{name} AS MATERIALIZED ({part.text})" for name, part in parts.items())
    params = (value for part in (*parts.values(), last) for value in part.params)
    return Fragment(f"WITH {named} {last.text}", tuple(params))
