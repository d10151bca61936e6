"""`GET sessions/{id}/history`: what the `run` frame had no room for, page by page."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import problems
from accounts.openapi import values
from accounts.openapi.values import in_query
from accounts.outlines import outline
from accounts.permissions import Methods, ScopeMap
from accounts.views import ProjectView
from orchestration import history, reach

ENTRY = outline(
    "HistoryEntry",
    {"role": serializers.CharField(), "content": serializers.JSONField(), "id": serializers.CharField(required=False)},
    many=True,
)
PAGE = outline("HistoryPage", {"results": ENTRY, "next": serializers.CharField(allow_null=True)})


class History(ProjectView):
    """One session's stored transcript and admitted messages, oldest first."""

    scopes: ClassVar[ScopeMap] = {"GET": "sessions:read"}
    child_may: ClassVar[Methods] = ("GET",)
    query: ClassVar = {"GET": ("cursor",)}

    @extend_schema(
        operation_id="session_history",
        description="What the session's attempts said and read; a `run` that has no room for all of it points here.",
        parameters=[in_query("cursor", values.text(pattern="^[0-9]{0,9}$"), "`next` of the page before.")],
        responses={200: PAGE},
    )
    def get(self, request: Request, session_id: UUID) -> Response:
        """As many entries as fit into a run."""
        session = reach.readable(self.credential, session_id)
        start = _start(request.query_params.get("cursor"))
        found, rest = history.fitting(session, settings.WARDROOM["run_history_bytes"], start)
        return Response({"results": found, "next": None if rest is None else str(rest)})


def _start(raw: str | None) -> int:
    if not raw:
        return 0
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 9):
        raise problems.invalid([{"field": "cursor", "detail": "not a cursor of this list"}])
    return int(raw)
