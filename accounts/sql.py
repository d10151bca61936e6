"""Running statements that are written by hand, where Django takes longer to build one than a database to answer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import connection

Row = tuple[Any, ...]


def run(statement: str, params: Sequence[Any]) -> list[Row]:
    """Every row that a statement returns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        found: list[Row] = cursor.fetchall()
        return found


def run_each(statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """How many rows a statement wrote that is run once with each of these parameters."""
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return int(cursor.rowcount)


def run_prepared(statement: str, params: Sequence[Any], *, keep: bool = True) -> list[Row]:
    """`run` for a statement whose text is always the same: PostgreSQL parses and plans it once per connection.

    `keep=False`: it plans anew at each call, by the table as it is then. What looks for rows needs that: the plan that
    it makes for an empty table reads all of it, and would be kept while the table fills.
    """
    if connection.vendor != "postgresql":
        return run(statement, params)
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        return cursor.execute(statement, params, prepare=keep, binary=True).fetchall()
