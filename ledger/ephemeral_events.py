"""Events that are shown and not stored: they reach only the watchers in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec

from core.display.redaction import event_json

BACKLOG, BACKLOG_BYTES = 256, 1024 * 1024


class Watcher:
    """The events since the last `take`. A slow watcher misses the newest."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._seen: list[bytes] = []
        self._size = 0
        self._wake = wake

    def show(self, event: bytes) -> None:
        """Buffer the event for a moment, and wake the watcher."""
        if len(self._seen) < BACKLOG and self._size + len(event) <= BACKLOG_BYTES:
            self._seen.append(event)
            self._size += len(event)
        self._wake()

    def take(self) -> list[bytes]:
        """Return all events since the last call, oldest first, as JSON."""
        seen, self._seen, self._size = self._seen, [], 0
        return seen


_watchers: dict[UUID, set[Watcher]] = {}


@asynccontextmanager
async def watch(session: UUID | None, wake: Callable[[], None]) -> AsyncIterator[Watcher]:
    """Watch one session (or none). `wake` is called on the event loop of the sender."""
    watcher = Watcher(wake)
    if session is None:
        yield watcher
        return
    _watchers.setdefault(session, set()).add(watcher)
    try:
        yield watcher
    finally:
        _watchers[session].discard(watcher)
        if not _watchers[session]:
            del _watchers[session]


def show(session: UUID, event: dict[str, Any]) -> None:
    """Give an event to the session's current watchers. Call it on the event loop on which they wait."""
    if watchers := _watchers.get(session):
        encoded = event_json(msgspec.json.encode(event).decode()).encode()
        for watcher in watchers:
            watcher.show(encoded)
