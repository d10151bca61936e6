"""Write rows and read them back in the same statement. Django reads them back with a second one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

M = TypeVar("M", bound=Model)


def update(rows: QuerySet[M], **changes: Any) -> list[M]:
    """Update the rows as `rows.update` does, and return them as they are now, without annotations.

    `rows` filters on columns of its own table.
    """
    query: Any = rows.query.chain(UpdateQuery)
    query.annotations = {}
    query.add_update_values(changes)
    compiler = query.get_compiler(using=rows.db)
    return _run(rows.model, rows.db, compiler, *compiler.as_sql())


def insert(row: M) -> M | None:
    """Insert the row and return it as the database holds it. Return None for a unique row that exists already.

    It waits for a transaction that is about to insert the same row. Any other violation is raised.
    """
    fields = [
        field for field in row._meta.concrete_fields if not (field.generated or (field.primary_key and row.pk is None))
    ]
    query = InsertQuery(type(row))
    query.insert_values(fields, [row])
    alias = type(row)._base_manager.db
    compiler = query.get_compiler(using=alias)
    ((statement, params),) = compiler.as_sql()
    found = _run(type(row), alias, compiler, f"{statement} ON CONFLICT DO NOTHING", params)
    return found[0] if found else None


def _run(model: type[M], alias: str, compiler: SQLCompiler, statement: str, params: Sequence[Any]) -> list[M]:
    fields = model._meta.concrete_fields
    connection = connections[alias]
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} RETURNING {names}", params)
        found: Any = cursor.fetchall()
    converters = compiler.get_converters([field.get_col(model._meta.db_table) for field in fields])
    if converters:
        found = compiler.apply_converters(found, converters)
    return [model.from_db(alias, [field.attname for field in fields], row) for row in found]
