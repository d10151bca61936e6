"""`GET sessions/{id}/history`: the part of the history that did not fit into the `run` frame, as pages."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from msgspec import UNSET, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import Methods, ScopeMap
from accounts.views import ProjectView
from core.display.redaction import event_copy
from core.limits import LIMITS
from core.web import queries
from core.web.openapi import values
from core.web.openapi.values import in_query
from orchestration.sessions import access, history


class HistoryEntry(Struct, frozen=True):
    role: str
    content: Any
    id: str | UnsetType = UNSET
    message_kind: str | UnsetType = UNSET
    correlation_id: str | UnsetType | None = UNSET


class HistoryPage(Struct, frozen=True):
    results: list[HistoryEntry]
    next: str | None


class History(ProjectView):
    """One session's stored transcript and admitted messages, oldest first."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)
    query: ClassVar = {"GET": ("cursor",)}

    @extend_schema(
        operation_id="session_history",
        description="The session's transcript and admitted messages; a `run` that cannot hold all of it points here.",
        parameters=[
            in_query(
                "cursor", values.text(pattern=r"^([0-9]{1,19}(\.[0-9]{1,19}){3})?$"), "`next` of the previous page."
            )
        ],
        responses={200: HistoryPage},
    )
    def get(self, request: Request, session_id: UUID) -> Response:
        """Return as many entries as fit into a run. Only the child itself gets the secrets in them."""
        session = access.readable(self.credential, session_id)
        cursor = request.query_params.get("cursor")
        after = history.Place.read(cursor) if cursor else None
        if cursor and (after is None or after.attempt > session.attempt):
            cure = "must be `next` of a page of this history; leave it out to begin at the oldest entry"
            raise queries.invalid([queries.refused("cursor", cure)])
        found, rest = history.page(session, LIMITS.run_history_bytes, after)
        if self.actor.kind != "child":
            found = [entry | {"content": event_copy(entry["content"])} for entry in found]
        return Response(HistoryPage([HistoryEntry(**entry) for entry in found], None if rest is None else str(rest)))
