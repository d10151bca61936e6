"""`GET feed`: the events of a project, page by page. The streaming form is in `ledger.api.asgi_routes`."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts.permissions import ScopeMap
from accounts.views import ProjectView
from ledger.event_pages import PARAMETERS, QUERY, Events, events_page


class FeedView(ProjectView):
    """The project's feed, oldest first."""

    scopes: ClassVar[ScopeMap] = {"GET": "feed:read"}
    refuses: ClassVar = {"GET": {410: ("resync",)}}
    streams: ClassVar = ("GET",)
    query: ClassVar = {"GET": QUERY}

    @extend_schema(
        operation_id="feed",
        description="Events by cursor; with `Accept: text/event-stream`, an endless stream of them.",
        parameters=PARAMETERS,
        responses={200: Events},
    )
    def get(self, request: Request) -> HttpResponse:
        """Return the page after `after`. 410 `resync` if that cursor is older than the oldest stored event."""
        return events_page(request.query_params, self.project.pk)
