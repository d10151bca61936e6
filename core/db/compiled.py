"""Run querysets with SQL that is built once. Django takes longer to build a large one than the database to answer it.

The SQL is compiled with example values, each of which is found again among its parameters. Later calls only put their
own values there.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Expression, Model, QuerySet
from django.db.models.query import ModelIterable
from psycopg import sql as postgres
from psycopg.types.json import Jsonb

from core.db import batches, clock, returning, sql

M = TypeVar("M", bound=Model)
Values = Mapping[str, Any]
Build = Callable[[Values], tuple[QuerySet[M], Values]]
#: Beyond these, the shape that was used least lately is dropped: a caller that invents shapes fills neither the memory
#: nor the places of the usual ones.
MOST_SHAPES = 64
BATCHES = (2, 11, 51)


class CompiledQueries(Generic[M]):
    """The compiled queries of one place in the code, one for each shape."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, _Compiled[M]] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, shape: Hashable, values: Values, build: Callable[[Values], QuerySet[M]]) -> list[M]:
        """Return the rows of `build(values)`.

        The values are UUIDs, strings, whole numbers and times. Everything else that changes the SQL is part of `shape`.
        """
        if clock.overridden() is not None:
            return list(build(values))
        key = connection.vendor, shape, tuple(values)
        with self._lock:
            made = self._made.get(key)
            if made is not None:
                self._made.move_to_end(key)
        if made is None:
            examples = {name: _example(value) for name, value in values.items()}
            made = _Compiled(build(examples), examples)
            with self._lock:
                self._made[key] = made
                while len(self._made) > MOST_SHAPES:
                    self._made.popitem(last=False)
        return made.run(values)


@dataclass(frozen=True, slots=True)
class Listing(Generic[M]):
    """The rows of a list, whose pages are compiled queries."""

    queries: CompiledQueries[M]
    model: type[M]
    shape: Hashable
    values: Values
    build: Callable[[Values], QuerySet[M]]

    def batch(self, key: Sequence[str], direction: str, place: Sequence[Any] | None, most: int) -> list[M]:
        """Return at most `most` rows beyond `place` in the order of `key`."""
        # Few sizes, so that a caller who counts up its limit gets compiled queries too.
        size = next((size for size in BATCHES if size >= most), most)
        beyond_it = {f"beyond {name}": value for name, value in zip(key, place or (), strict=False)}

        def build(values: Values) -> QuerySet[M]:
            above = None if place is None else [values[name] for name in beyond_it]
            return batches.ordered(self.build(values), key, direction, above)[:size]

        shape = (self.shape, tuple(key), direction, place is None, size)
        return self.queries.rows(shape, {**self.values, **beyond_it}, build)[:most]


@dataclass(frozen=True, slots=True)
class _Place:
    """A parameter that takes a value, and the form that the value takes there."""

    name: str
    form: Callable[[Any], Any]


class CompiledUpdates(Generic[M]):
    """The compiled form of `returning.update` at one place in the code, one statement for each shape."""

    def __init__(self) -> None:
        self._made: dict[Hashable, _CompiledUpdate[M]] = {}

    def run(self, shape: Hashable, values: Values, build: Build[M], columns: Values = MappingProxyType({})) -> list[M]:
        """Update rows and return them as they are now, without annotations.

        `build(values)` returns the rows, and the columns that change to an expression. `shape` and `values` are those
        of `CompiledQueries`. The other columns change to the values in `columns`, which are of any type.
        """
        if clock.overridden() is not None:
            rows, expressions = build(values)
            return returning.update(rows, **columns, **expressions)
        # With the names of the values: a condition more must never be lost in the statement of an earlier call.
        key = (connection.vendor, shape, tuple(values), tuple(columns))
        made = self._made.get(key)
        if made is None:
            examples = {name: _example(value) for name, value in values.items()}
            made = _CompiledUpdate(*build(examples), examples, columns)
            if len(self._made) < MOST_SHAPES:
                self._made[key] = made
        return made.run(values, columns)


class _Compiled(Generic[M]):
    def __init__(self, rows: QuerySet[M], examples: Values) -> None:
        if not issubclass(rows._iterable_class, ModelIterable):
            raise ValueError("A compiled query reads rows of a model.")
        compiler = rows.query.get_compiler(using=rows.db)
        statement, params = compiler.as_sql()
        klass = compiler.klass_info
        if klass.get("related_klass_infos"):
            raise ValueError("A compiled query reads one table.")
        fields = klass["select_fields"]
        self._make: Callable[..., list[M]] = returning.instances(klass["model"], rows.db)
        self._first, self._end = fields[0], fields[-1] + 1
        self._names = [column[0].target.attname for column in compiler.select[self._first : self._end]]
        self._annotations = list(compiler.annotation_col_map.items())
        self._converters = compiler.get_converters([each[0] for each in compiler.select])
        self._statement, self._params = _with_places(statement, params, examples)

    def run(self, values: Values) -> list[M]:
        found = sql.run_prepared(self._statement, _filled(self._params, values), binary=False)
        rows = returning.converted(found, self._converters, connection.alias)
        made = self._make(self._names, (row[self._first : self._end] for row in rows))
        for name, position in self._annotations:
            for instance, row in zip(made, rows, strict=True):
                setattr(instance, name, row[position])
        return made


class _Slot(Expression):
    """A column's new value, which each call brings."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Leave a place for the value."""
        return "%s", [self]


class _CompiledUpdate(Generic[M]):
    def __init__(self, rows: QuerySet[M], expressions: Values, examples: Values, columns: Values) -> None:
        self._fields: dict[str, Any] = {name: rows.model._meta.get_field(name) for name in columns}
        changes = {**{name: _Slot(name) for name in columns}, **expressions}
        statement, params, self._read = returning.statement(rows, changes)
        self._statement, self._params = _with_places(statement, params, examples)

    def run(self, values: Values, columns: Values) -> list[M]:
        prepared = {
            name: field.get_db_prep_save(columns[name], connection=connection) for name, field in self._fields.items()
        }
        params = [prepared[each.name] if isinstance(each, _Slot) else each for each in self._params]
        return self._read(sql.run_prepared(self._statement, _filled(params, values), binary=False))


def _with_places(statement: str, params: Sequence[Any], examples: Values) -> tuple[str, list[Any]]:
    """Return the statement, and its parameters with the place of each example."""
    found = [_place(param, examples) for param in params]
    missing = set(examples) - {place.name for place in found if isinstance(place, _Place)}
    if missing:
        raise ValueError(f"The query does not use {', '.join(sorted(missing))}.")
    if connection.vendor != "postgresql":
        return statement, found
    # Constants as literals: the server then knows their types, and plans for their values.
    pieces = statement.split("%s")
    literals = [
        "%s" if isinstance(each, _Place | _Slot) else postgres.Literal(each).as_string().replace("%", "%%")
        for each in found
    ]
    statement = "".join(f"{piece}{literal}" for piece, literal in zip(pieces, [*literals, ""], strict=True))
    return statement, [each for each in found if isinstance(each, _Place | _Slot)]


def _filled(params: Sequence[Any], values: Values) -> list[Any]:
    return [each.form(values[each.name]) if isinstance(each, _Place) else each for each in params]


def _example(value: Any) -> Any:
    """Return a value of the same type that no query holds by chance."""
    match value:
        case uuid.UUID():
            return uuid.uuid4()
        case str():
            return f"example {uuid.uuid4()}"
        case int() if not isinstance(value, bool):
            return 2**30 + uuid.uuid4().int % 2**30
        case datetime():
            return datetime.fromtimestamp(uuid.uuid4().int % 2**33, UTC).replace(microsecond=uuid.uuid4().int % 10**6)
    raise TypeError(f"A compiled query takes no {type(value).__name__}.")


def _plain(value: Any) -> Any:
    return value


#: The forms that a value takes in the parameters of either database.
_FORMS: dict[type, tuple[Callable[[Any], Any], ...]] = {
    uuid.UUID: (_plain, lambda value: value.hex),
    datetime: (lambda value: connection.ops.adapt_datetimefield_value(value),),
}


def _place(param: Any, examples: Values) -> Any:
    """Return the place of an example, or the parameter itself when it is a constant."""
    for name, example in examples.items():
        for convert in _FORMS.get(type(example), (_plain, json.dumps)):
            form = convert(example)
            if type(param) is type(form) and param == form:
                return _Place(name, convert)
        if isinstance(example, int) and isinstance(param, int) and param == example:
            return _Place(name, type(param))  # Django gives whole numbers the width of their column.
        if isinstance(param, Jsonb) and param.obj == example:
            return _Place(name, Jsonb)
    return param
