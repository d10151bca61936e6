"""One HTTP request and its answer, while they pass through the front door."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from accounts import callers
from server.front import budget
from server.front.budget import Budget

#: The key in a request's ASGI scope of what its connection wants to be told once its caller is proven.
KNOWN = "wardroom.known"
CLOSE = (b"connection", b"close")
#: Django gives these a `content-length: 0`; RFC 9110 (8.6) forbids it for 204, and for 304 it would be a wrong length.
WITHOUT_BODY = (204, 304)
# What a refused caller still sends is thrown away for so long and so many bytes, so that it reads the refusal.
LINGER_SECS = 1.0
LINGER_BYTES = 4 * 1024 * 1024


class Exchange:
    """Count what is read, know whether the answer has begun, and leave no unread body on the connection."""

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
        """The caller is known: what is read counts as theirs from here on."""
        self.release()
        self._budget, self._owner = budget.proven, owner
        if KNOWN in self._scope:
            self._scope[KNOWN]()

    async def receive(self) -> Message:
        """The next message of the request. Raise 503 or 429 when its bytes do not fit into memory."""
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
        """The whole body; None when it is longer than `most`. TimeoutError when it takes longer than `secs`.

        After a TimeoutError the next call goes on where this one ended.
        """
        async with asyncio.timeout(secs):
            while self.unread:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                self._read += message.get("body", b"")
                if len(self._read) > most:
                    return None
        return bytes(self._read)

    def replay(self, body: bytes) -> Receive:
        """A `receive` that gives this body, then waits for the caller to leave."""
        given = False

        async def receive() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            if self.unread:
                # To look whether the caller has left would read on.
                await asyncio.Event().wait()
            return await self._receive()

        return receive

    async def send(self, message: Message) -> None:
        """Send a part of the answer. The connection ends behind an answer that comes before the body is read."""
        if message["type"] == "http.response.start":
            self.started = True
            if message["status"] in WITHOUT_BODY:
                message = {**message, "headers": without_length(message.get("headers", ()))}
            if self.unread:
                self._closing = True
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
        elif self._closing and not message.get("more_body", False):
            # The app is done with this, and holds what it needed no longer than that; `finish` does the rest.
            self._unfinished = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Read what the caller still sends, for a bounded time, and end an answer that came before it."""
        if self._unfinished:
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def release(self) -> None:
        """The bytes that were counted are free again."""
        if self._taken:
            self._budget.give_back(self._owner, self._taken)
            self._taken = 0

    async def _linger(self) -> None:
        # A connection that is closed while its caller still sends is reset, and the caller may never see the answer.
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECS):
                while self.unread and left > 0:
                    message = await self._receive()
                    self.unread = message.get("more_body", False)
                    left -= len(message.get("body", b""))


def without_length(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """These headers, but no `Content-Length`."""
    return [(name, value) for name, value in headers if name.lower() != b"content-length"]


def with_body_length(scope: Scope, length: int) -> Scope:
    """The scope of a request whose whole body has this length, however it came."""
    headers: list[Any] = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}
