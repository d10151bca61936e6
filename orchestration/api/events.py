"""`GET sessions/{id}/events` as pages, and `GET snapshot`. The module `event_stream` streams the same events."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import Methods, ScopeMap
from accounts.views import ProjectView
from ledger.event_pages import PARAMETERS, QUERY, Events, events_page
from orchestration.api import snapshot
from orchestration.sessions import access


class SessionEventsView(ProjectView):
    """One session's events, oldest first."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)
    refuses: ClassVar = {"GET": {410: ("resync",)}}
    streams: ClassVar = ("GET",)
    query: ClassVar = {"GET": QUERY}

    @extend_schema(
        operation_id="session_events",
        description="Events of one session by cursor; with `Accept: text/event-stream`, an endless stream of them.",
        parameters=PARAMETERS,
        responses={200: Events},
    )
    def get(self, request: Request, session_id: UUID) -> HttpResponse:
        """Return a page of events beyond `after`. A child's token may read its own session and those below it."""
        session = access.readable(self.credential, session_id)
        return events_page(request.query_params, session.project_id, session.pk)


class SnapshotView(ProjectView):
    """The current state of a project, and the cursor to continue from."""

    scopes: ClassVar[ScopeMap] = {"GET": "feed:read"}

    @extend_schema(
        operation_id="snapshot",
        description="Sessions that are not over and approvals that are pending, each with its own read scope, else "
        "null. Then read the feed beyond `cursor`.",
        responses={200: snapshot.Snapshot},
    )
    def get(self, request: Request) -> Response:
        """Return the state and the cursor. The feed beyond the cursor has every later change."""
        sees = set(self.credential.scopes)
        sees |= {"sessions:read", "approvals:read"} if "admin" in self.credential.scopes else set()
        seen = snapshot.build(
            self.project.pk, with_sessions="sessions:read" in sees, with_approvals="approvals:read" in sees
        )
        return Response(seen)
