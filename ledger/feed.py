"""Read the feed by cursor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import TextField
from django.db.models.functions import Cast

from core.db.clock import moment
from core.display.redaction import event_json
from core.limits import LIMITS
from ledger.models import Event, Head

#: The most bytes of an event in an answer, without its payload.
ROW_BYTES = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it is read. Its payload is still the stored text."""

    cursor: int
    session: UUID | None
    attempt: int | None
    seq: int | None
    source: str
    type: str
    at: datetime
    text: str

    @property
    def payload(self) -> dict[str, Any]:
        """The payload without secrets, decoded."""
        decoded: dict[str, Any] = json.loads(event_json(self.text))
        return decoded

    def encode(self) -> bytes:
        """Return the event as JSON, in the shape of REST and SSE. A payload without secrets is copied undecoded."""
        return msgspec.json.encode(
            {
                "cursor": self.cursor,
                "session": self.session,
                "attempt": self.attempt,
                "seq": self.seq,
                "source": self.source,
                "type": self.type,
                "payload": msgspec.Raw(event_json(self.text).encode()),
                "at": moment(self.at),
            }
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, and the cursor to continue from. `more`: later events exist. `resync`: some events are lost."""

    events: list[Entry]
    cursor: int
    more: bool = False
    resync: bool = False


def beyond(project_id: UUID, after: int | None, *, session: UUID | None = None, limit: int = 200) -> Page:
    """Return the page after a cursor; without one, from the oldest stored event.

    A page ends at `limit` events or at `max_page_bytes`, whichever comes first, but holds at least one event. Sizes are
    read first, so that no more is loaded than the page holds.

    No later commit can fill in a lower cursor (I13). `resync` is set if later events have been pruned, or if this feed
    never issued the cursor. Then the page has no events, and the head's cursor, to continue from after a new snapshot.
    """
    rows = Event.objects.filter(project_id=project_id, cursor__gt=after or 0)
    if session is not None:
        rows = rows.filter(session=session)
    sizes = list(rows.order_by("cursor").values_list("cursor", "size")[: limit + 1])
    fitting, room = 0, LIMITS.max_page_bytes
    for _, size in sizes[:limit]:
        room -= size + ROW_BYTES
        if room < 0 and fitting:
            break
        fitting += 1
    found = []
    if sizes:
        page = rows.filter(cursor__lte=sizes[fitting - 1][0]).order_by("cursor")
        fields = ("cursor", "session", "attempt", "seq", "source", "type", "at")
        found = [Entry(*row) for row in page.values_list(*fields, Cast("payload", TextField()))]
    # Read after the rows, so that pruning during the read is noticed too.
    newest, oldest = Head.objects.filter(pk=project_id).values_list("cursor", "oldest").first() or (0, 0)
    is_lost = after is not None and after > newest
    if after is not None and not is_lost and after < oldest:
        # A session's events are pruned oldest first, so a stored one at or below the cursor proves that its successors
        # exist. From 0, a session's reader asks for all stored events.
        of_session = Event.objects.filter(session=session, cursor__lte=after)
        is_lost = session is None or (after > 0 and not of_session.exists())
    if is_lost:
        return Page([], newest, resync=True)
    # Not the newest cursor: it may have advanced since the rows were read. Only pruned events are surely behind us.
    position = oldest if after is None else after
    return Page(found, found[-1].cursor if found else position, more=len(sizes) > fitting)


def head(project_id: UUID) -> int:
    """Return the cursor of the latest event, or 0 for an empty feed."""
    return Head.objects.filter(pk=project_id).values_list("cursor", flat=True).first() or 0
