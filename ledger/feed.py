"""Reading the feed by cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.clock import moment
from ledger.models import Event, Head


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, the cursor to go on from, whether more wait already, and whether some were missed for good."""

    events: list[Event]
    cursor: int
    more: bool = False
    resync: bool = False


def beyond(project_id: UUID, after: int | None, *, session: UUID | None = None, limit: int = 200) -> Page:
    """What comes after a cursor; without one, from the oldest event that is kept.

    No later commit can fill in a lower cursor (I13). A cursor whose successors have been pruned, or that this feed
    never gave, gets `resync`: no events, and the head's cursor, to go on from after a fresh snapshot.
    """
    rows = Event.objects.filter(project_id=project_id, cursor__gt=after or 0)
    if session is not None:
        rows = rows.filter(session=session)
    found = list(rows.order_by("cursor")[: limit + 1])
    # Looked at after the rows: what was pruned while we read them is noticed too.
    newest, oldest = _ends(project_id)
    if after is not None and (after > newest or (after < oldest and _has_gap(after, session))):
        return Page([], newest, resync=True)
    events = found[:limit]
    # Not the newest cursor, which may have moved since the rows were read: only what is pruned is surely behind us.
    standing = oldest if after is None else after
    return Page(events, events[-1].cursor if events else standing, more=len(found) > limit)


def _has_gap(after: int, session: UUID | None) -> bool:
    """Whether pruning took something that this reader has not had.

    A session's events go oldest first, so one that is kept at or below the cursor proves that its successors are.
    From 0 a session's reader asks for whatever there is.
    """
    if session is None:
        return True
    return after > 0 and not Event.objects.filter(session=session, cursor__lte=after).exists()


def _ends(project_id: UUID) -> tuple[int, int]:
    return Head.objects.filter(pk=project_id).values_list("cursor", "oldest").first() or (0, 0)


def head(project_id: UUID) -> int:
    """The cursor of the latest event; 0 for an empty feed."""
    return Head.objects.filter(pk=project_id).values_list("cursor", flat=True).first() or 0


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
        "at": moment(event.at),
    }
