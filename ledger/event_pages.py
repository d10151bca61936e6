"""Pages of events: the query, the shape and the cursor of every call that lists events."""

from __future__ import annotations

import threading
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from msgspec import Struct

from core.web import problems, queries
from core.web.fields import Id, Moment, one_of, says
from core.web.openapi.values import in_query
from ledger import feed

LIMIT, MOST = 100, 500
FURTHEST = 10**18 - 1
PAGES_AT_ONCE = 4
_MAKING = threading.BoundedSemaphore(PAGES_AT_ONCE)
PARAMETERS = [
    in_query("after", {"type": "integer", "minimum": 0, "maximum": FURTHEST}, "The cursor of your latest event."),
    in_query(
        "limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}, "Fewer if events are large."
    ),
]

QUERY = tuple(parameter.name for parameter in PARAMETERS)


class Event(Struct, frozen=True):
    """One durable event. Wardroom's own events have no `seq`."""

    cursor: int
    session: Id | None
    attempt: int | None
    seq: int | None
    source: Annotated[str, one_of(["child", "wardroom"])]
    type: str
    payload: Any
    at: Moment


class Events(Struct, frozen=True):
    results: list[Event]
    next: Annotated[int | None, says("`after` of the next page, if there is one.")]
    cursor: Annotated[int, says("`after` for a later call.")]


def events_page(params: Any, project_id: UUID, session: UUID | None = None) -> HttpResponse:
    """Return `{results, next, cursor}` for the query's `after` and `limit`.

    Only few pages are built at a time, because building one takes several times its own size.
    """
    after = cursor_of(params.get("after"))
    limit = queries.whole(params, "limit", least=1, most=MOST) or LIMIT
    with _MAKING:
        page = feed.beyond(project_id, after, session=session, limit=limit)
        if page.resync:
            raise problems.gone(
                "That cursor is older than the stored events, or invalid. Take a snapshot and go on from its cursor.",
                type="resync",
                cursor=page.cursor,
            )
        events = [msgspec.Raw(event.encode()) for event in page.events]
        body = {"results": events, "next": page.cursor if page.more else None, "cursor": page.cursor}
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")


def cursor_of(raw: str | None) -> int | None:
    """Return a caller's cursor, or raise 422."""
    if raw is None or raw == "":
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 18):
        raise queries.invalid([queries.refused("after", "must be the cursor of an event")])
    return int(raw)
