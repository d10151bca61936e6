"""`/admin/live/feed`: tells the admin's pages *that* something changed, and never the content.

A page names the topics that it shows. The stream sends `event: change` with the changed ones, and the page fetches its
own fragment again, with its reader's own permissions. Topics come from the events' rows, by cursor, so none is missed.

    approvals, approval:<id>     a request came, was answered, expired, was delivered or consumed
    sessions, session:<id>       anything happened in a session
    mailbox                      a message, or a quarantined one
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, Q, When
from starlette.requests import Request
from starlette.responses import Response

from accounts import projects
from accounts.login import staff_sessions
from core.concurrency.threadpool import run_in_threadpool
from core.db.fields import JSONText
from core.limits import LIMITS
from core.web import problems
from ledger import hub, shutdown
from ledger.health import is_uuid
from ledger.models import Event, Head, Source
from ledger.streams import EventStream

MOST_EVENTS = 500
PAUSE_SECS = 0.2  # a busy project causes five changes a second, not five hundred
KINDS = {"approval": "approvals", "message": "mailbox", "mailbox": "mailbox", "quarantine": "mailbox"}
EVERYTHING = "*"
Cursors = dict[UUID, int]


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in member of the staff, with the heads of the feeds that they may see."""

    heads: Cursors


async def changes(request: Request) -> Response:
    """Return the stream for one page: for staff only, from our own pages only, about their own projects only."""
    # A browser itself sets these headers: a page of another origin cannot.
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_same_host = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if site != "same-origin" if site is not None else not is_same_host:
        raise problems.forbidden("This stream is for the admin's own pages.")
    session_key = request.cookies.get(settings.SESSION_COOKIE_NAME, "")
    viewer = await run_in_threadpool(_viewer, session_key)
    if viewer is None:
        raise problems.unauthenticated("Sign in to the admin first.")
    wanted = frozenset(filter(None, request.query_params.get("topics", "").split(",")))
    return EventStream(f"page:{session_key}", _frames(session_key, viewer.heads, wanted))


def _viewer(session_key: str) -> Viewer | None:
    """Return the user of this session and their projects' heads, or None if the session has ended."""
    user = staff_sessions.user_of(session_key)
    if user is None:
        return None
    visible = projects.ids_visible_to(user)
    known = dict(Head.objects.filter(pk__in=visible).values_list("pk", "cursor"))
    return Viewer({project: known.get(project, 0) for project in visible})


async def _frames(session_key: str, cursors: Cursors, wanted: frozenset[str]) -> AsyncGenerator[bytes, None]:
    """Yield changes until the page closes, its session ends, its projects change, or the process stops.

    When projects are added or removed, the stream ends. The browser opens a new one, which sees the new set.
    """
    shutdown.watch()
    recheck_secs, beat_secs = LIMITS.page_recheck_secs, LIMITS.stream_beat_secs
    recheck_at, beat_at = time.monotonic() + recheck_secs, time.monotonic() + beat_secs
    async with hub.get().listen(*(f"feed:{project}" for project in cursors)) as subscription:
        yield b"retry: 1000\n\n: open\n\n"
        while not shutdown.asked():
            topics = await run_in_threadpool(_changed_topics, cursors)
            if changed := sorted(wanted if EVERYTHING in topics else topics & wanted):
                yield f"event: change\ndata: {' '.join(changed)}\n\n".encode()
                await asyncio.sleep(PAUSE_SECS)
            if time.monotonic() >= recheck_at:
                viewer = await run_in_threadpool(_viewer, session_key)
                if viewer is None or viewer.heads.keys() != cursors.keys():
                    return
                recheck_at = time.monotonic() + recheck_secs
            if time.monotonic() >= beat_at:
                yield b": beat\n\n"
                beat_at = time.monotonic() + beat_secs
            due = min(recheck_at, beat_at) - time.monotonic()
            await subscription.wait(max(0.0, min(float(LIMITS.hub_poll_secs), due)))


def _changed_topics(cursors: Cursors) -> set[str]:
    """Return the topics of all events after the cursors, and advance the cursors."""
    heads = dict(Head.objects.filter(pk__in=list(cursors)).values_list("pk", "cursor"))
    behind = {project: head for project, head in heads.items() if head > cursors[project]}
    if not behind:
        return set()
    beyond = Q()
    for project in behind:
        beyond |= Q(project_id=project, cursor__gt=cursors[project])
    # A child's payloads are not needed here, and may be large.
    ours = Case(When(source=Source.WARDROOM, then=F("payload")), default=None, output_field=JSONText())
    events = list(Event.objects.filter(beyond).values_list("type", "session", "source", ours)[: MOST_EVENTS + 1])
    cursors.update(behind)
    if len(events) > MOST_EVENTS:
        return {EVERYTHING}
    topics: set[str] = set()
    for type, session, source, payload in events:
        if session is not None:
            topics |= {"sessions", f"session:{session}"}
        # A child names its own events as it likes. Only Wardroom's events prove that an approval changed.
        kind = KINDS.get(type.partition("_")[0]) if source == Source.WARDROOM else None
        if kind is None:
            continue
        topics.add(kind)
        if kind == "approvals" and isinstance(payload, dict) and is_uuid(str(payload.get("approval_id"))):
            topics.add(f"approval:{payload['approval_id']}")
    return topics
