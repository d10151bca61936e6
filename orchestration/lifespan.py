"""The ASGI lifespan of a web process: begin its lease before the first child connects, and run its own tasks.

Otherwise a restarted server without any child yet would look as if no web process was alive, and no attempt would be
ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from core.concurrency.threadpool import run_in_threadpool
from ledger import shutdown
from orchestration import presence


async def lifespan(
    scope: Any,
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> None:
    """Run ASGI's lifespan protocol, and `background` from its start to its end."""
    await receive()
    # Watch before the first call. Otherwise a call that arrives during the stop would be held open and then cut off.
    shutdown.watch()
    await run_in_threadpool(presence.begin)
    tasks = [asyncio.create_task(each()) for each in background]
    await send({"type": "lifespan.startup.complete"})
    await receive()
    for task in tasks:
        task.cancel()
    await run_in_threadpool(presence.end)
    await send({"type": "lifespan.shutdown.complete"})
