"""One HTTP request and its answer on their way through the front gate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from core.web import callers
from server.front import budget
from server.front.budget import Budget

#: ASGI scope key of the connection's callback for an authenticated caller.
KNOWN = "wardroom.known"
#: The key of a question to the connection: has the whole body arrived?
WHOLE = "wardroom.whole"
CLOSE = (b"connection", b"close")
#: Django gives these a `content-length: 0`. RFC 9110 (8.6) forbids it for 204, and for 304 the length would be wrong.
WITHOUT_BODY = (204, 304)
# After a refusal the rest of the request is discarded for this many seconds and bytes, so that the caller reads the
# answer.
LINGER_SECS = 1.0
LINGER_BYTES = 4 * 1024 * 1024


class Exchange:
    """Counts the bytes read, knows if the answer has begun, and leaves no unread body on the connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, has_body: bool) -> None:
        self._receive, self._send = receive, send
        self.unread = has_body
        self.started = False
        self._closing = self._unfinished = False
        self._budget: Budget = budget.unproven
        self._owner = callers.address(scope) if has_body else ""
        self._scope = scope
        self._taken = 0
        self._read = bytearray()

    def prove(self, owner: str) -> None:
        """Set the authenticated caller: later bytes count for it."""
        taken = self._taken
        self.release()
        self._budget, self._owner = budget.proven, owner
        if taken:
            # The bytes are still here. Raises 503 or 429 when they do not fit.
            self._budget.take(owner, taken)
            self._taken = taken
        if KNOWN in self._scope:
            self._scope[KNOWN]()

    async def receive(self) -> Message:
        """Return the next message of the request. Raise 503 or 429 when its bytes do not fit into memory."""
        message = await self._receive()
        if message["type"] != "http.request":
            self.unread = False
            return message
        self.unread = message.get("more_body", False)
        size = len(message.get("body", b""))
        if size:
            self._budget.take(self._owner, size)
            self._taken += size
        return message

    async def read(self, most: int, secs: float) -> bytes | None:
        """Return the whole body, or None when it is longer than `most`. Raise TimeoutError after `secs`.

        After a TimeoutError the next call continues from there.
        """
        is_whole = self._scope.get(WHOLE)
        if is_whole is not None and is_whole():
            # A timer would cost more than the read.
            return await self._rest(most)
        async with asyncio.timeout(secs):
            return await self._rest(most)

    async def _rest(self, most: int) -> bytes | None:
        while self.unread:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._read += message.get("body", b"")
            if len(self._read) > most:
                return None
        body = bytes(self._read)
        self._read = bytearray()
        return body

    def replay(self, body: bytes) -> Receive:
        """Return a `receive` that gives this body, then waits for the caller to disconnect."""
        given = False

        async def receive() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            if self.unread:
                # Watching for a disconnect would read further bytes.
                await asyncio.Event().wait()
            return await self._receive()

        return receive

    async def send(self, message: Message) -> None:
        """Send a part of the answer. An early answer, before the whole body is read, closes the connection after it."""
        if message["type"] == "http.response.start":
            self.started = True
            if message["status"] in WITHOUT_BODY:
                message = {**message, "headers": without_length(message.get("headers", ()))}
            if self.unread:
                self._closing = True
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
        elif self._closing and not message.get("more_body", False):
            # The app is done and has released its resources. `finish` completes the answer.
            self._unfinished = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Read the rest of the request for a bounded time, and complete an answer that came before it."""
        if not self._unfinished:
            return
        # Closing a connection while its caller still sends resets it, and the caller may never see the answer.
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECS):
                while self.unread and left > 0:
                    message = await self._receive()
                    self.unread = message.get("more_body", False)
                    left -= len(message.get("body", b""))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def release(self) -> None:
        """Release the counted bytes."""
        if self._taken:
            self._budget.give_back(self._owner, self._taken)
            self._taken = 0


def without_length(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return these headers without `Content-Length`."""
    return [(name, value) for name, value in headers if name.lower() != b"content-length"]


def with_body_length(scope: Scope, length: int) -> Scope:
    """Return the scope of a request with a whole body of this length, however it was sent."""
    headers: list[Any] = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}
