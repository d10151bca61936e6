"""Reading many rows without holding them all, and without a cursor that stays open between two statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)


def in_batches(rows: QuerySet[M], keys: Sequence[str], size: int) -> Iterator[M]:
    """Every row in the order of `keys`, which together name one row; one query for each `size` rows.

    A server-side cursor would need the same connection at each of its statements, which a pooler in transaction mode
    does not give.
    """
    ordered = rows.order_by(*keys)
    beyond = Q()
    while True:
        batch = list(ordered.filter(beyond)[:size])
        yield from batch
        if len(batch) < size:
            return
        beyond = _beyond(keys, batch[-1])


def _beyond(keys: Sequence[str], last: Any) -> Q:
    found, equal = Q(), Q()
    for key in keys:
        value = getattr(last, key)
        found |= equal & Q(**{f"{key}__gt": value})
        equal &= Q(**{key: value})
    return found
