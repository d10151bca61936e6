"""Cursor pages: `{results, next}`, stable while rows come and go."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Field, IntegerField, Model, Q, QuerySet, UUIDField

from accounts import problems, queries
from accounts.openapi import values

LIMIT, MOST = 50, 200
#: What a page is asked for with, for the OpenAPI document.
QUERY = [
    values.in_query("cursor", values.text(), "`next` of the page before."),
    values.in_query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}),
]
#: Their names.
PARAMETERS = ("cursor", "limit")
#: No cursor of ours is longer.
LONGEST_CURSOR = 512


def page(
    rows: QuerySet[Any],
    params: Any,
    shape: Callable[[Any], Any] = lambda row: row,
    *,
    key: Sequence[str] = ("created_at", "pk"),
    descending: bool = False,
) -> dict[str, Any]:
    """One page of `rows` ordered by `key` (unique as a whole), from `params["cursor"]`, at most `params["limit"]`."""
    size = queries.whole(params, "limit", least=1, most=MOST) or LIMIT
    order = [f"-{name}" if descending else name for name in key]
    if params.get("cursor"):
        place = _decode(params["cursor"], [_column(rows.model, name) for name in key])
        rows = rows.filter(_beyond(key, place, "lt" if descending else "gt"))
    found = list(rows.order_by(*order)[: size + 1])
    more = len(found) > size
    last = found[size - 1] if more else None
    return {"results": [shape(row) for row in found[:size]], "next": _encode(last, key) if last else None}


def _beyond(key: Sequence[str], values: Sequence[Any], direction: str) -> Q:
    # (a, b) > (x, y) written out, because SQLite and Django have no portable row comparison.
    beyond = Q()
    for position, name in enumerate(key):
        equal = {before: values[index] for index, before in enumerate(key[:position])}
        beyond |= Q(**equal, **{f"{name}__{direction}": values[position]})
    return beyond


def _encode(row: Model, key: Sequence[str]) -> str:
    values = [getattr(row, name) for name in key]
    plain = [value.isoformat() if hasattr(value, "isoformat") else value for value in values]
    text = json.dumps([value if isinstance(value, int | str) else str(value) for value in plain])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, columns: Sequence[Field[Any, Any]]) -> list[Any]:
    """The values that a cursor holds, one for each column. Raises invalid for what this list never gave."""
    try:
        if len(cursor) > LONGEST_CURSOR:
            raise ValueError
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [_value(column, value) for column, value in zip(columns, found, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError, ValidationError):
        raise problems.invalid([queries.refused("cursor", "not a cursor of this list")]) from None


def _column(model: type[Model], name: str) -> Field[Any, Any]:
    column: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return column  # type: ignore[no-any-return]


def _value(column: Field[Any, Any], value: Any) -> Any:
    """The value as its column holds it: no database is asked to compare with anything else."""
    match column, value:
        case IntegerField(), int() if not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
        case DateTimeField(), str():
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        case UUIDField(), str():
            return column.to_python(value)
    raise ValueError
