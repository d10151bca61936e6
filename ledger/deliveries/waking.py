"""Have the workers act soon after a wake-up. Without it, their sweep does the same some seconds later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from core.concurrency.threadpool import run_in_threadpool
from ledger import hub
from ledger.deliveries import senders
from ledger.wakeups import DELIVERIES

#: A round finds all events at once, so one task is enough for many of them.
PAUSE_SECS = 0.5
log = logging.getLogger(__name__)


async def run(
    publish: Callable[[], object], topic: str = DELIVERIES, is_wanted: Callable[[], bool] = senders.is_wanted
) -> None:
    """Call `publish` in a thread after wake-ups, at most once in a pause, while it is wanted. For ever.

    It runs in web processes, because they listen to wake-ups; the transaction of an event must not wait for a broker.
    """
    async with hub.get().listen(topic) as subscription:
        while True:
            if not await subscription.wait(timeout=3600):
                continue
            try:
                if await run_in_threadpool(is_wanted):
                    await run_in_threadpool(publish)
            except Exception:
                log.warning("the workers were not told of %s; the sweep finds them", topic, exc_info=True)
            await asyncio.sleep(PAUSE_SECS)
