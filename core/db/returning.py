"""Write rows and read them back in the same statement. Django reads them back with a second one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

M = TypeVar("M", bound=Model)
Read = Callable[[Sequence[Sequence[Any]]], list[M]]


def update(rows: QuerySet[M], **changes: Any) -> list[M]:
    """Update the rows as `rows.update` does, and return them as they are now, without annotations.

    `rows` filters on columns of its own table.
    """
    text, params, read = statement(rows, changes)
    with connections[rows.db].cursor() as cursor:
        cursor.execute(text, params)
        return read(cursor.fetchall())


def statement(rows: QuerySet[M], changes: Mapping[str, Any]) -> tuple[str, Sequence[Any], Read[M]]:
    """Return the SQL of `update`, its parameters, and the function that makes instances of its answer."""
    query: Any = rows.query.chain(UpdateQuery)
    query.annotations = {}
    query.add_update_values(changes)
    compiler = query.get_compiler(using=rows.db)
    text, params = compiler.as_sql()
    returned, read = _returned(rows.model, rows.db, compiler)
    return f"{text} {returned}", params, read


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
    ((text, params),) = compiler.as_sql()
    returned, read = _returned(type(row), alias, compiler)
    with connections[alias].cursor() as cursor:
        cursor.execute(f"{text} ON CONFLICT DO NOTHING {returned}", params)
        found = read(cursor.fetchall())
    return found[0] if found else None


def converted(found: Sequence[Sequence[Any]], converters: Any, alias: str) -> list[list[Any]]:
    """Return the rows with the values of Python, by the converters of a compiler, which may be another thread's."""
    rows = [list(row) for row in found]
    there = connections[alias]
    for position, (functions, expression) in converters.items():
        for row in rows:
            for convert in functions:
                row[position] = convert(row[position], expression, there)
    return rows


def instances(model: type[M], alias: str) -> Callable[[Sequence[str], Iterable[Sequence[Any]]], list[M]]:
    """Return the function that makes instances of rows with these attributes, as `Model.from_db` does.

    `Model.__init__` looks for each value's default and descriptor, which takes longer than all else that is done with a
    row. A model that has an `__init__` of its own gets it. Signals are not sent: Wardroom has no listeners.
    """
    own = {name for each in model.__mro__[: model.__mro__.index(Model)] for name in vars(each)}
    if own & {"__init__", "from_db"}:
        return lambda names, rows: [model.from_db(alias, names, row) for row in rows]

    def made(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[M]:
        found = []
        for row in rows:
            instance = model.__new__(model)
            instance._state = ModelState()
            instance._state.adding, instance._state.db = False, alias
            instance.__dict__.update(zip(names, row, strict=True))
            found.append(instance)
        return found

    return made


def _returned(model: type[M], alias: str, compiler: SQLCompiler) -> tuple[str, Read[M]]:
    """Return the clause that reads every column, and the function that makes instances of its rows."""
    fields = model._meta.concrete_fields
    names = ", ".join(connections[alias].ops.quote_name(str(field.column)) for field in fields)
    attributes = [field.attname for field in fields]
    make = instances(model, alias)
    converters = compiler.get_converters([field.get_col(model._meta.db_table) for field in fields])

    def read(found: Sequence[Sequence[Any]]) -> list[M]:
        return make(attributes, converted(found, converters, alias))

    return f"RETURNING {names}", read
