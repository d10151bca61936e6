"""Reading the feed by cursor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ledger.models import Event, Head


def read(project_id: UUID, after: int, limit: int = 200, *, sessions: list[UUID] | None = None) -> list[Event]:
    """Events with a cursor beyond `after`, in order. No later commit can fill in a lower cursor (I13)."""
    rows = Event.objects.filter(project_id=project_id, cursor__gt=after)
    if sessions is not None:
        rows = rows.filter(session__in=sessions)
    return list(rows.order_by("cursor")[:limit])


def head(project_id: UUID) -> int:
    """The cursor of the latest event; 0 for an empty feed."""
    return Head.objects.filter(pk=project_id).values_list("cursor", flat=True).first() or 0


def pruned_below(project_id: UUID) -> int:
    """Events at or below this cursor are gone: a reader that stands before it must resync."""
    return Head.objects.filter(pk=project_id).values_list("oldest", flat=True).first() or 0


def shape(event: Event) -> dict[str, Any]:
    """An event as REST and SSE show it."""
    return {
        "cursor": event.cursor,
        "session": str(event.session) if event.session else None,
        "attempt": event.attempt,
        "seq": event.seq,
        "source": event.source,
        "type": event.type,
        "payload": event.payload,
        "at": event.at.isoformat(),
    }
