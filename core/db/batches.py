"""Read many rows in batches, without loading them all and without a cursor that stays open between statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)


def in_batches(rows: QuerySet[M], keys: Sequence[str], size: int) -> Iterator[M]:
    """Yield every row in the order of `keys`, with one query for each `size` rows. Together the keys are unique.

    A server-side cursor needs the same connection for each of its statements. A pooler in transaction mode does not
    guarantee that.
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
