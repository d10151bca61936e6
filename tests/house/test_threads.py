"""A wait for the operations includes operations of callers that have left."""

from __future__ import annotations

import asyncio
import threading

import pytest

from core.concurrency.threadpool import run_in_threadpool
from tests.threads import operations_have_ended
from tests.waiting import wait_until_async


async def test_a_verb_whose_caller_was_cancelled_is_waited_for() -> None:
    begun, free = threading.Event(), threading.Event()

    def operation() -> None:
        begun.set()
        assert free.wait(30)

    caller = asyncio.create_task(run_in_threadpool(operation))
    await wait_until_async(begun.is_set)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    with pytest.raises(threading.BrokenBarrierError):
        await asyncio.to_thread(operations_have_ended, 0.2)
    waiting = asyncio.create_task(asyncio.to_thread(operations_have_ended))
    free.set()
    await waiting
