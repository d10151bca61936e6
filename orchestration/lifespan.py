"""The ASGI lifespan of a web process: begin its lease before the first child connects.

Otherwise a restarted server without any child yet would look as if no web process was alive, and no attempt would be
ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.concurrency.threadpool import run_in_threadpool
from ledger import shutdown
from orchestration import presence


async def lifespan(
    scope: Any,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Run ASGI's lifespan protocol."""
    await receive()
    # Watch before the first call. Otherwise a call that arrives during the stop would be held open and then cut off.
    shutdown.watch()
    await run_in_threadpool(presence.begin)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await run_in_threadpool(presence.end)
    await send({"type": "lifespan.shutdown.complete"})
