"""One bounded pool of threads for database calls from the event loop. Each call gets clean connections."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def _pool(pid: int) -> ThreadPoolExecutor:
    # One pool per process: threads do not survive a fork.
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="operations")


async def run_in_threadpool(operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a synchronous operation off the event loop. Cancelling the caller does not stop a running operation."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool(os.getpid()), functools.partial(_clean, operation, *args, **kwargs))


def _clean(operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    tidy()
    try:
        return operation(*args, **kwargs)
    except StopIteration as error:
        # A future refuses StopIteration, and its caller would wait for ever.
        raise RuntimeError("the operation ran out") from error
    finally:
        tidy()


def tidy() -> None:
    """Close connections that are broken or too old.

    Each of these few threads keeps its connection to SQLite. Opening one reads the whole schema and takes as long as
    the work, and the last connection to close writes the log back.
    """
    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite":
            connection.close_if_unusable_or_obsolete()
        elif connection.errors_occurred:
            connection.close()
