"""Cursor pages: `{results, next}`, stable while rows come and go."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

from accounts import problems
from accounts.openapi import values

LIMIT, MOST = 50, 200
#: What a page is asked for with, for the OpenAPI document.
QUERY = [
    values.in_query("cursor", values.text(), "`next` of the page before."),
    values.in_query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}),
]


def page(
    rows: QuerySet[Any],
    params: Any,
    shape: Callable[[Any], Any] = lambda row: row,
    *,
    key: Sequence[str] = ("created_at", "pk"),
    descending: bool = False,
) -> dict[str, Any]:
    """One page of `rows` ordered by `key` (unique as a whole), from `params["cursor"]`, at most `params["limit"]`."""
    size = _size(params.get("limit"))
    order = [f"-{name}" if descending else name for name in key]
    if params.get("cursor"):
        beyond = _beyond(key, _decode(params["cursor"], len(key)), "lt" if descending else "gt")
        found = _from_cursor(rows.order_by(*order), beyond, size + 1)
    else:
        found = list(rows.order_by(*order)[: size + 1])
    more = len(found) > size
    last = found[size - 1] if more else None
    return {"results": [shape(row) for row in found[:size]], "next": _encode(last, key) if last else None}


def _is_part(value: Any) -> bool:
    # PostgreSQL cannot even compare with a NUL.
    return isinstance(value, int) or (isinstance(value, str) and "\0" not in value)


def _from_cursor(rows: QuerySet[Any], beyond: Q, size: int) -> list[Any]:
    try:
        return list(rows.filter(beyond)[:size])
    except (ValidationError, ValueError, TypeError, OverflowError):
        # Well-formed, but its values are not of this list's columns.
        raise problems.invalid([{"field": "cursor", "detail": "not a cursor of this list"}]) from None


def _size(raw: str | None) -> int:
    if raw is None:
        return LIMIT
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= MOST:
        raise problems.invalid([{"field": "limit", "detail": f"a whole number from 1 to {MOST}"}])
    return int(raw)


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


def _decode(cursor: str, parts: int) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    if not isinstance(values, list) or len(values) != parts or not all(map(_is_part, values)):
        raise problems.invalid([{"field": "cursor", "detail": "not a cursor of this list"}])
    return values
