"""The ASGI side of a child's socket: bounded, ordered input, and output one frame at a time.

The reader does not wait for operations, so that pongs are read while one runs; only a full inbox stops it. There is no
queue for output: `send` waits for the peer, and a peer that does not read is disconnected.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.limits import LIMITS
from wardroom import protocol
from wardroom.protocol import Close

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

INBOX_FRAMES = 128
INBOX_BYTES = 1024 * 1024
RATE_WINDOW_SECS = 10


class CloseConnection(Exception):
    """Close this connection with `code` and `reason`. A code of None means that the peer has left."""

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class PeerDisconnected(CloseConnection):
    """The peer left while we wrote. Its last frames, a terminal frame included, may still be in the inbox."""


class Inbox:
    """The texts that the reader has read and the worker has not taken yet. `put` waits while it is full.

    Frames wait as text. Decoded, they could take many times the memory.
    """

    def __init__(self) -> None:
        self._items: deque[str | CloseConnection] = deque()
        self._weight = 0
        self._changed = asyncio.Condition()

    async def put(self, item: str | CloseConnection) -> None:
        """Add the item. An item that is heavier than the whole inbox goes in when the inbox is empty."""
        weight = _weight(item)

        def fits() -> bool:
            if not self._items or isinstance(item, CloseConnection):
                return True
            return len(self._items) < INBOX_FRAMES and self._weight + weight <= INBOX_BYTES

        async with self._changed:
            await self._changed.wait_for(fits)
            self._items.append(item)
            self._weight += weight
            self._changed.notify_all()

    async def take(self) -> str:
        """Return the oldest text. Raise a `CloseConnection` that was put, after everything that came before it."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            item = self._items.popleft()
            self._weight -= _weight(item)
            self._changed.notify_all()
        if isinstance(item, CloseConnection):
            raise item
        return item

    def peek(self) -> str | None:
        """Return the text that `take` returns next, or None."""
        item = self._items[0] if self._items else None
        return item if isinstance(item, str) else None


def _weight(item: str | CloseConnection) -> int:
    """Return the memory of a text in bytes.

    One character beyond ASCII can make the whole text take four times as much.
    """
    return sys.getsizeof(item) if isinstance(item, str) else 0


class Rate:
    """A bucket of `allowed` frames that fills again within the window."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._level = float(allowed)
        self._at = time.monotonic()

    def take(self) -> None:
        """Count one frame. Raises CloseConnection 4429 when there have been too many."""
        now = time.monotonic()
        self._level = min(self._allowed, self._level + (now - self._at) * self._allowed / RATE_WINDOW_SECS)
        self._at = now
        if self._level < 1:
            raise CloseConnection(Close.TOO_MANY, f"retry after {RATE_WINDOW_SECS} seconds")
        self._level -= 1


class Transport:
    """One WebSocket, with the `receive` and `send` that ASGI gives an application."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._writing = asyncio.Lock()
        self._rate = Rate(LIMITS.max_frames_per_10_secs)

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the handshake, also one that will be refused: a client can read a close code only after it."""
        await self._receive()
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def send(self, frame: protocol.Frame) -> None:
        """Write one frame.

        Raises CloseConnection when the peer has not read for `send_timeout_secs`, and PeerDisconnected when it has
        left.
        """
        await self._push({"type": "websocket.send", "text": protocol.encode(frame)})

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and reason. A peer that does not even read the close frame is cut off."""
        try:
            cut = protocol.cut_reason(reason)
            await self._push({"type": "websocket.close", "code": int(code), "reason": cut})
        except CloseConnection:
            pass

    async def read(self, inbox: Inbox) -> None:
        """Put every frame into the inbox, and at the end the CloseConnection that says why there are no more."""
        try:
            while True:
                event = await self._receive()
                if event["type"] == "websocket.disconnect":
                    raise CloseConnection()
                text = event.get("text")
                if text is None:
                    raise CloseConnection(Close.NOT_PROTOCOL, "a frame is text")
                self._rate.take()
                await inbox.put(str(text))
        except CloseConnection as end:
            await inbox.put(end)

    async def _push(self, event: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(LIMITS.send_timeout_secs), self._writing:
                await self._send(event)
        except TimeoutError:
            # ASGI has no event for this. A normal close would wait for the peer, which does not read.
            transport = getattr(getattr(self._send, "__self__", None), "transport", None)
            if transport is not None:
                transport.abort()
            raise CloseConnection() from None
        except OSError:  # uvicorn's ClientDisconnected: the peer left while we wrote.
            raise PeerDisconnected() from None
