"""Read many rows in batches, without loading them all and without a cursor that stays open between statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

Row = TypeVar("Row")


def in_batches(
    rows: QuerySet[Any, Row], keys: Sequence[str], size: int, *, after: Sequence[Any] | None = None
) -> Iterator[Row]:
    """Yield every row in the order of `keys`, with one query for each `size` rows. Together the keys are unique.

    With `after`, begin behind the row with these values.

    A server-side cursor needs the same connection for each of its statements. A pooler in transaction mode does not
    guarantee that.
    """
    ordered = rows.order_by(*keys)
    rest = Q() if after is None else beyond(keys, after)
    while True:
        batch = list(ordered.filter(rest)[:size])
        yield from batch
        if len(batch) < size:
            return
        rest = beyond(keys, [getattr(batch[-1], key) for key in keys])


def ordered(
    rows: QuerySet[Any, Row], keys: Sequence[str], direction: str, place: Sequence[Any] | None
) -> QuerySet[Any, Row]:
    """Return the rows in the order of `keys`, or for `lt` in the reverse order, beyond the row with these values."""
    if place is not None:
        rows = rows.filter(beyond(keys, place, direction))
    return rows.order_by(*(f"-{key}" if direction == "lt" else key for key in keys))


def beyond(keys: Sequence[str], values: Sequence[Any], direction: str = "gt") -> Q:
    """Match the rows after these values in the order of `keys`; with `lt` as `direction`, those before them.

    This is (a, b) > (x, y) written out: Django has no row comparison that also works on SQLite.
    """
    found, equal = Q(), Q()
    for key, value in zip(keys, values, strict=True):
        found |= equal & Q(**{f"{key}__{direction}": value})
        equal &= Q(**{key: value})
    return found
