"""Server-sent events: the feed as an endless response.

Every frame's `id:` is the event's cursor. So a reader that lost its connection continues with `Last-Event-ID` at any
web process: the server stores nothing for it. Readers get the content of the rows. The hub only tells when to read, and
a poll finds the rows of a lost wake-up.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from core.concurrency.batching import Batcher
from core.limits import LIMITS
from core.web import problems
from ledger import ephemeral_events, feed, hub, shutdown

BATCH = 200
CHUNK_BYTES = 32 * 1024
# The most bytes of all batches of one turn.
TURN_BYTES = 4 * 1024 * 1024
RETRY_SECS = 10
MEDIA_TYPE = "text/event-stream"
#: The line breaks that JSON does not escape, each with its JSON escape.
LINE_BREAKS = tuple((mark.encode(), rb"\u%04x" % ord(mark)) for mark in "\u0085\u2028\u2029")


class StreamRoute(Route):
    """A GET of an event stream. Django serves the same address without `Accept: text/event-stream`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match fully only if the caller accepts a stream."""
        if scope["type"] == "http":
            accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
            if MEDIA_TYPE.encode() not in accepted.lower():
                return Match.NONE, {}
        return super().matches(scope)


class EventStream(StreamingResponse):
    """A stream that no proxy buffers, no cache stores, and no stalled reader keeps open. With a `filename`, a download.

    Raises 429 if its reader has too many open streams at this process.
    """

    def __init__(
        self, reader: str, frames: AsyncGenerator[bytes, None], *, media_type: str = MEDIA_TYPE, filename: str = ""
    ) -> None:
        most = LIMITS.streams_per_credential
        if _open[reader] >= most:
            raise problems.too_many(f"You have {most} event streams open. Close one first.", RETRY_SECS)
        self._reader = reader
        self._frames = frames
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        if filename:
            headers["Content-Disposition"] = f'attachment; filename="{filename}"'
        super().__init__(frames, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the stream while it is open. A HEAD request gets the headers, and ends."""
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return await self._frames.aclose()
        _open[self._reader] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            _open[self._reader] -= 1
            if not _open[self._reader]:
                del _open[self._reader]

    async def stream_response(self, send: Send) -> None:
        """Stream as Starlette does, with a deadline on each write, and close the generator at the end."""

        async def hurried(message: Message) -> None:
            async with asyncio.timeout(LIMITS.send_timeout_secs):
                await send(message)

        try:
            await super().stream_response(hurried)
        except TimeoutError:
            return
        finally:
            await self._frames.aclose()


@dataclass(frozen=True, slots=True)
class Reading:
    """The position of a reader: a project's feed, or one session's part of it, after a cursor."""

    project_id: UUID
    after: int | None
    session: UUID | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A page of events as frames, joined into chunks. It is made once, and sent to every stream at this position."""

    chunks: list[bytes]
    cursor: int | None
    more: bool


def _make(readings: Sequence[Reading]) -> list[Batch]:
    """Make one batch for each reading. Equal readings share one. Readings above the memory limit are tried again."""
    made: dict[Reading, Batch] = {}
    room = TURN_BYTES
    for reading in readings:
        if reading in made:
            continue
        if room <= 0:
            made[reading] = Batch([], reading.after, more=True)
            continue
        page = feed.beyond(reading.project_id, reading.after, session=reading.session, limit=BATCH)
        # A page with `resync` has no events.
        chunks = [_frame({"cursor": page.cursor}, cursor=page.cursor, event="resync")] if page.resync else []
        gathered: list[bytes] = []
        for event in page.events:
            gathered.append(_sse(event.encode(), cursor=event.cursor))
            if sum(map(len, gathered)) >= CHUNK_BYTES:
                chunks.append(b"".join(gathered))
                gathered = []
        if gathered:
            chunks.append(b"".join(gathered))
        made[reading] = Batch(chunks, page.cursor, page.more)
        room -= sum(map(len, chunks))
    return [made[reading] for reading in readings]


#: Streams that are woken at the same moment and have the same position share one read and one formatting.
_batches: Batcher[Reading, Batch] = Batcher(_make)
#: Open streams of this process: reader -> their number.
_open: Counter[str] = Counter()


def where_from(request: Request) -> str | None:
    """Return the cursor to continue from. `Last-Event-ID`, the reader's own memory, goes before the query's `after`."""
    return request.headers.get("last-event-id") or request.query_params.get("after")


async def frames(reading: Reading, still_allowed: Callable[[], Awaitable[bool]]) -> AsyncGenerator[bytes, None]:
    """Yield the feed as frames, until the reader leaves, loses its permission, or the process stops.

    1. Listen, then read: commits after the read wake us.
    2. Send the events after the cursor, page by page. A cursor older than the stored events gets `resync`. Ephemeral
       events of one session are sent as `event: ephemeral` to readers at the process that holds its connection.
    3. Wait for a wake-up, the poll or the next beat. Every beat checks the reader's permission again.
    """
    shutdown.watch()
    beat_secs = LIMITS.stream_beat_secs
    beat_at = time.monotonic() + beat_secs
    cursor = reading.after
    topic = f"feed:{reading.project_id}"
    async with (
        hub.get().listen(topic) as subscription,
        ephemeral_events.watch(reading.session, subscription.wake) as passing,
    ):
        yield b"retry: 1000\n\n"
        while not shutdown.asked():
            batch = await _batches.ask(Reading(reading.project_id, cursor, reading.session))
            for chunk in batch.chunks:
                yield chunk
            cursor = batch.cursor
            for ephemeral in passing.take():
                yield _sse(ephemeral, event="ephemeral")
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + beat_secs
                if not await still_allowed():
                    yield _frame({"reason": "The credential is no longer live."}, event="end")
                    return
                yield b": beat\n\n"
            if not batch.more:
                due = beat_at - time.monotonic()
                await subscription.wait(max(0.0, min(float(LIMITS.hub_poll_secs), due)))


def _frame(data: object, *, cursor: int | None = None, event: str = "") -> bytes:
    return _sse(json.dumps(data).encode(), cursor=cursor, event=event)


def _sse(data: bytes, *, cursor: int | None = None, event: str = "") -> bytes:
    head = (f"id: {cursor}\n" if cursor is not None else "") + (f"event: {event}\n" if event else "")
    # Keep the data on one line: no line break in a child's payload may end the frame early.
    for character, escape in LINE_BREAKS:
        data = data.replace(character, escape)
    return b"%sdata: %s\n\n" % (head.encode(), data)
