"""`GET sessions/{id}/events` page by page. The same events as a stream are in `held_events`."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import Methods, ScopeMap
from accounts.views import ProjectView
from ledger.api import EVENTS, PARAMETERS, events_page
from orchestration import reach


class SessionEventsView(ProjectView):
    """One session's events, oldest first."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)

    @extend_schema(
        operation_id="session_events",
        description="Events of one session by cursor; with `Accept: text/event-stream`, an endless stream of them.",
        parameters=PARAMETERS,
        responses={200: EVENTS},
    )
    def get(self, request: Request, session_id: UUID) -> Response:
        """A page beyond `after`; a child's token reads its own session and those below it."""
        session = reach.readable(self.credential, session_id)
        return Response(events_page(request.query_params, session.project_id, session.pk))
