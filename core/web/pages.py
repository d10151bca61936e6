"""Cursor pages `{results, next}`. They stay stable while rows are added and removed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.db.models import CharField, DateTimeField, Field, IntegerField, QuerySet, UUIDField

from core.db.batches import ordered
from core.db.compiled import Listing
from core.limits import LIMITS
from core.web import queries
from core.web.openapi import values
from wardroom import strict

LIMIT, MOST = 50, 200
#: The query parameters of a page, for the OpenAPI document.
QUERY = [
    values.in_query("cursor", values.text(), "`next` of the previous page."),
    values.in_query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}),
]
#: The names of these parameters.
PARAMETERS = ("cursor", "limit")
#: The longest cursor that we make.
LONGEST_CURSOR = 512
#: Rows per query. A page of the usual size needs one query.
AT_ONCE = LIMIT + 1
_JSON = msgspec.json.Encoder(enc_hook=str)


class Room:
    """The byte budget of one answer. The first row always fits, so a reader makes progress."""

    def __init__(self) -> None:
        self._left = LIMITS.max_page_bytes
        self._is_empty = True

    def takes(self, shown: Any) -> bool:
        """Return True when this row, in its output form, still fits."""
        self._left -= len(_JSON.encode(shown)) + 1
        fits = self._left >= 0 or self._is_empty
        self._is_empty = False
        return fits


def page(
    rows: QuerySet[Any] | Listing[Any],
    params: Any,
    shape: Callable[[Any], Any],
    *,
    key: Sequence[str] = ("created_at", "pk"),
    descending: bool = False,
    prepare: Callable[[Sequence[Any]], None] = lambda rows: None,
) -> dict[str, Any]:
    """Return one page of `rows` in the order of `key`, from `params["cursor"]`, at most `params["limit"]` rows.

    The `key` is unique as a whole. The page also ends at its byte budget. `prepare` gets the rows of each query before
    they are shown.
    """
    size = queries.whole(params, "limit", least=1, most=MOST) or LIMIT
    meta: Any = rows.model._meta
    columns = [meta.pk if name == "pk" else meta.get_field(name) for name in key]
    place = _decode(params["cursor"], columns) if params.get("cursor") else None
    shown: list[Any] = []
    room, last = Room(), None
    for row in walk(rows, key, descending=descending, place=place, most=size + 1, prepare=prepare):
        each = shape(row) if len(shown) < size else None
        if each is None or not room.takes(each):
            assert last is not None  # noqa: S101 - for the types: the first row always fits
            values_of_last = [getattr(last, name) for name in key]
            plain = [value.isoformat() if hasattr(value, "isoformat") else value for value in values_of_last]
            text = json.dumps([value if isinstance(value, int | str) else str(value) for value in plain])
            return {"results": shown, "next": base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")}
        shown.append(each)
        last = row
    return {"results": shown, "next": None}


def walk(
    rows: QuerySet[Any] | Listing[Any],
    key: Sequence[str],
    *,
    descending: bool = False,
    place: Sequence[Any] | None = None,
    most: int = AT_ONCE,
    prepare: Callable[[Sequence[Any]], None] = lambda rows: None,
) -> Iterator[Any]:
    """Yield every row beyond `place`, in order, in batches. A reader that stops early has not loaded them all."""
    some, direction = min(most, AT_ONCE), "lt" if descending else "gt"
    while True:
        if isinstance(rows, Listing):
            found = rows.batch(key, direction, place, some)
        else:
            found = list(ordered(rows, key, direction, place)[:some])
        prepare(found)
        yield from found
        if len(found) < some:
            return
        place = [getattr(found[-1], name) for name in key]


def _decode(cursor: str, columns: Sequence[Field[Any, Any]]) -> list[Any]:
    """Return the values of a cursor, one for each column. Raises invalid for a cursor that this list never made."""
    try:
        if len(cursor) > LONGEST_CURSOR:
            raise ValueError
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place: list[Any] = []
        for column, value in zip(columns, found, strict=True):
            # Only in the column's own type, so that the database compares with no other one.
            match column, value:
                case IntegerField(), int() if not isinstance(value, bool) and -(2**63) <= value < 2**63:
                    place.append(value)
                case DateTimeField(), str() if (moment := datetime.fromisoformat(value)).tzinfo is not None:
                    place.append(moment.astimezone(UTC))
                case UUIDField(), str():
                    place.append(column.to_python(value))
                case CharField(), str() if strict.is_storable(value):
                    place.append(value)
                case _:
                    raise ValueError
        return place
    except (ValueError, TypeError, OverflowError, RecursionError, ValidationError):
        raise queries.invalid([queries.refused("cursor", "must be a cursor of this list")]) from None
