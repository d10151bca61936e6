"""Events that are shown and not kept: they reach whoever is watching in this process, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

BACKLOG = 256

Queue = asyncio.Queue[dict[str, Any]]
_watchers: dict[UUID, set[Queue]] = {}


@contextmanager
def watch(session: UUID) -> Iterator[Queue]:
    """A queue of what passes by in this session; a watcher that does not keep up misses the newest."""
    queue: Queue = asyncio.Queue(BACKLOG)
    _watchers.setdefault(session, set()).add(queue)
    try:
        yield queue
    finally:
        _watchers[session].discard(queue)
        if not _watchers[session]:
            del _watchers[session]


def show(session: UUID, event: dict[str, Any]) -> None:
    """Hand an event to whoever watches the session now. Call it on the loop that they wait on."""
    for queue in _watchers.get(session, ()):
        if not queue.full():
            queue.put_nowait(event)
