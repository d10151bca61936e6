"""`GET sessions/{id}/events` with `Accept: text/event-stream`, answered before Django."""

from __future__ import annotations

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from accounts import asgi_calls, authentication, permissions
from accounts.models import Credential
from core.concurrency.threadpool import run_in_threadpool
from core.web.problems import Problem
from ledger import streams
from ledger.event_pages import QUERY, cursor_of
from orchestration.sessions import access


async def session_stream(request: Request) -> Response:
    """Stream one session's events from its cursor on, for as long as the caller may read them."""
    session_id: UUID = request.path_params["session_id"]
    credential = await _reader(request, session_id)
    asgi_calls.check(request, QUERY)
    reading = streams.Reading(credential.project_id, cursor_of(streams.where_from(request)), session_id)

    async def still_allowed() -> bool:
        try:
            await _reader(request, session_id)
        except Problem:
            return False
        return True

    return streams.EventStream(f"credential:{credential.pk}", streams.frames(reading, still_allowed))


async def _reader(request: Request, session_id: UUID) -> Credential:
    credential = await authentication.of_asgi_request(request)
    permissions.allow(credential, "sessions:read", child=True)
    await run_in_threadpool(access.readable, credential, session_id)
    return credential


routes: list[Route] = [
    streams.StreamRoute("/api/v1/sessions/{session_id:uuid}/events", session_stream, methods=["GET"]),
]
