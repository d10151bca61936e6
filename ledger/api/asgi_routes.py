"""The streams of the ledger, served before Django: the feed as events, and the audit chain as a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from accounts import asgi_calls, authentication, permissions
from accounts.models import Credential
from core.concurrency.threadpool import run_in_threadpool
from core.web import queries
from core.web.problems import Problem
from ledger import streams
from ledger.api.audit import FORMATS
from ledger.audit import export
from ledger.event_pages import QUERY, cursor_of


async def feed_stream(request: Request) -> Response:
    """`GET feed` with `Accept: text/event-stream`."""
    credential = await _reader(request, "feed:read")
    asgi_calls.check(request, QUERY)
    reading = streams.Reading(credential.project_id, cursor_of(streams.where_from(request)))
    frames = streams.frames(reading, _still_allowed(request, "feed:read"))
    return streams.EventStream(f"credential:{credential.pk}", frames)


async def audit_file(request: Request) -> Response:
    """`GET audit` with `format`: every row of the chain up to now."""
    credential = await _reader(request, "audit:read")
    asgi_calls.check(request, ("format",))
    wanted = queries.word(request.query_params, "format", tuple(FORMATS)) or "jsonl"
    end = await run_in_threadpool(export.head, credential.project_id)
    lines = export.json_lines if wanted == "jsonl" else export.csv_lines
    return streams.EventStream(
        f"credential:{credential.pk}",
        lines(end, _still_allowed(request, "audit:read")),
        media_type=FORMATS[wanted],
        filename=f"audit.{wanted}",
    )


async def _reader(request: Request, scope: str) -> Credential:
    credential = await authentication.of_asgi_request(request)
    permissions.allow(credential, scope)
    return credential


def _still_allowed(request: Request, scope: str) -> Callable[[], Awaitable[bool]]:
    async def still_allowed() -> bool:
        try:
            await _reader(request, scope)
        except Problem:
            return False
        return True

    return still_allowed


class ExportRoute(Route):
    """A GET of a file. Django serves the same address without such a `format`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match fully only if the query names the format of a file."""
        given = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=None).get("format", [])
        return super().matches(scope) if set(given) & set(FORMATS) else (Match.NONE, {})


routes: list[Route] = [
    streams.StreamRoute("/api/v1/feed", feed_stream, methods=["GET"]),
    ExportRoute("/api/v1/audit", audit_file, methods=["GET"]),
]
