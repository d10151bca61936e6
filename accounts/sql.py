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


def run_prepared(statement: str, params: Sequence[Any]) -> list[Row]:
    """`run` for a statement whose text is always the same: PostgreSQL parses and plans it once per connection."""
    if connection.vendor != "postgresql":
        return run(statement, params)
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        return cursor.execute(statement, params, prepare=True, binary=True).fetchall()
