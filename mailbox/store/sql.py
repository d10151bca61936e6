"""Run the statements of `postgres.sql` and `sqlite.sql`, and write their parameters in the form of each database."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Func, IntegerField

from core.db import clock
from core.db.named_sql import NamedSQL, several
from core.db.sql import Params, Row, run_each, run_prepared, uid

__all__ = ["STATEMENTS", "Bytes", "Row", "moment", "now", "query", "run_each", "seconds", "several", "uid"]

STATEMENTS = NamedSQL(Path(__file__).parent)


def query(name: str, params: Params) -> list[Row]:
    """Run the statement of this name and return its rows."""
    return run_prepared(STATEMENTS[name], params)


class Bytes(Func):
    """The number of bytes of a text. PostgreSQL knows it without reading the text."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Cast to BLOB: SQLite counts the characters of a text."""
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


def now() -> Any:
    """Return the parameter `now`: None, for the database's clock. Only a test sets another moment."""
    return clock.parameter()


def seconds(secs: float) -> float | str:
    """Return the parameter `secs` in this database's form."""
    return float(secs) if connection.vendor == "postgresql" else f"{secs:+.3f} seconds"


def moment(value: datetime | None) -> Any:
    """Return a moment in this database's format."""
    return connection.ops.adapt_datetimefield_value(value)
