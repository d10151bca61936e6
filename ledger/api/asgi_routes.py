"""The feed as a stream, served before Django."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from accounts import asgi_calls, authentication, permissions
from core.web.problems import Problem
from ledger import streams
from ledger.event_pages import QUERY, cursor_of


async def feed_stream(request: Request) -> Response:
    """`GET feed` with `Accept: text/event-stream`."""
    credential = await authentication.of_asgi_request(request)
    permissions.allow(credential, "feed:read")
    asgi_calls.check(request, QUERY)
    reading = streams.Reading(credential.project_id, cursor_of(streams.where_from(request)))

    async def still_allowed() -> bool:
        try:
            permissions.allow(await authentication.of_asgi_request(request), "feed:read")
        except Problem:
            return False
        return True

    return streams.EventStream(f"credential:{credential.pk}", streams.frames(reading, still_allowed))


routes: list[Route] = [
    streams.StreamRoute("/api/v1/feed", feed_stream, methods=["GET"]),
]
