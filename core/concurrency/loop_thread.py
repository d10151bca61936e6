"""An event loop in a thread beside one that uses the database: a call that hangs holds no connection of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def running(name: str, *, threads: int) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a second thread. Nothing waits for a blocked thread of its pool."""
    loop = asyncio.new_event_loop()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    loop.set_default_executor(pool)
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        pool.shutdown(wait=False, cancel_futures=True)
        loop.close()
