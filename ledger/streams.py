"""Server-sent events: the feed as an endless answer.

Every frame's `id:` is the event's cursor, so a reader that lost its line goes on with `Last-Event-ID` at any web
process: nothing is kept here but a number. What the reader is sent is what the rows say; the hub only says when to
look, and a poll behind it finds what a lost nudge hid.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Match, Route
from starlette.types import Message, Scope, Send

from accounts.offload import in_thread
from ledger import feed, glimpses, hub, stopping

BATCH = 200
MEDIA_TYPE = "text/event-stream"
#: The line breaks that JSON leaves as they are, and how JSON escapes them.
LINE_BREAKS = tuple((mark.encode(), rb"\u%04x" % ord(mark)) for mark in "\u0085\u2028\u2029")


class StreamRoute(Route):
    """A GET that asks for an event stream; the same address without `Accept: text/event-stream` is Django's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """A full match only for those who accept a stream."""
        if scope["type"] == "http" and not _accepts_stream(scope):
            return Match.NONE, {}
        return super().matches(scope)


def _accepts_stream(scope: Scope) -> bool:
    accepts = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return MEDIA_TYPE.encode() in accepts.lower()


class EventStream(StreamingResponse):
    """A stream that no proxy buffers, no cache keeps and no reader that stopped reading holds open."""

    media_type = MEDIA_TYPE

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        self._frames = frames
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        super().__init__(frames, headers=headers)

    async def stream_response(self, send: Send) -> None:
        """As Starlette does it, with a deadline on each write and an end to the generator behind it."""

        async def hurried(message: Message) -> None:
            async with asyncio.timeout(settings.WARDROOM["send_timeout_secs"]):
                await send(message)

        try:
            await super().stream_response(hurried)
        except TimeoutError:
            return
        finally:
            await self._frames.aclose()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader follows: a project's feed, or one session's part of it, beyond a cursor."""

    project_id: UUID
    after: int | None
    session: UUID | None = None


def where_from(request: Request) -> str | None:
    """The cursor that a reader goes on from: its own memory (`Last-Event-ID`) before the address it began with."""
    return request.headers.get("last-event-id") or request.query_params.get("after")


async def frames(reading: Reading, still_allowed: Callable[[], Awaitable[bool]]) -> AsyncGenerator[bytes, None]:
    """The feed as frames, until the reader leaves, may no longer read, or the process stops.

    1. Listen, then read: what commits after the read wakes us.
    2. Send what is beyond the cursor, page by page; a cursor older than what is kept gets `resync`. Ephemeral events of
       one session pass by as `event: ephemeral`, to whoever follows it at the process that holds its line.
    3. Wait for a nudge, the poll or the next beat; every beat asks again whether this reader may still read.
    """
    stopping.watch()
    beat_secs = settings.WARDROOM["stream_beat_secs"]
    beat_at = time.monotonic() + beat_secs
    cursor = reading.after
    topic = f"feed:{reading.project_id}"
    async with hub.get().listen(topic) as ears, glimpses.watch(reading.session, ears.nudge) as passing:
        yield b"retry: 1000\n\n"
        while not stopping.asked():
            page = await in_thread(feed.beyond, reading.project_id, cursor, session=reading.session, limit=BATCH)
            if page.resync:
                yield _frame({"cursor": page.cursor}, cursor=page.cursor, event="resync")
            for event in page.events:
                yield _sse(event.encode(), cursor=event.cursor)
            cursor = page.cursor
            for glimpse in passing.take():
                yield _frame(glimpse, event="ephemeral")
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + beat_secs
                if not await still_allowed():
                    yield _frame({"reason": "The credential is no longer live."}, event="end")
                    return
                yield b": beat\n\n"
            if not page.more:
                await ears.wait(_patience(beat_at))


def _patience(beat_at: float) -> float:
    return max(0.0, min(float(settings.WARDROOM["hub_poll_secs"]), beat_at - time.monotonic()))


def _frame(data: object, *, cursor: int | None = None, event: str = "") -> bytes:
    return _sse(json.dumps(data).encode(), cursor=cursor, event=event)


def _sse(data: bytes, *, cursor: int | None = None, event: str = "") -> bytes:
    head = (f"id: {cursor}\n" if cursor is not None else "") + (f"event: {event}\n" if event else "")
    # One line, whatever a child put into its payload: no line break of any script can end the frame early.
    for character, escape in LINE_BREAKS:
        data = data.replace(character, escape)
    return b"%sdata: %s\n\n" % (head.encode(), data)
