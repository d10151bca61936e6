"""The start and the stop of a web process, as its server tells it: its lease begins before the first child comes.

Otherwise a restarted server that no child has found yet would look as if there was none, and nobody would be judged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.concurrency.threadpool import in_thread
from ledger import shutdown
from orchestration import presence


async def lifespan(
    scope: Any,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """ASGI's lifespan protocol."""
    await receive()
    # Before the first call: one that is on its way when the server is told to stop would else be held, and cut off.
    shutdown.watch()
    await in_thread(presence.begin)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await in_thread(presence.end)
    await send({"type": "lifespan.shutdown.complete"})
