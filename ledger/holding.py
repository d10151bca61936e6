"""A held call: it waits on the event loop until what it looks for is there, and costs no thread meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from accounts import problems
from accounts.offload import in_thread
from ledger import hub, stopping

#: The longest that a caller may say it would wait; a call is held for `held_call_secs` at most.
LONGEST_WAIT = 300

Found = TypeVar("Found")


def patience(raw: str | None) -> float:
    """The seconds of `?timeout=`, 422 for what is none; without it, 0."""
    if raw is None:
        return 0
    if not raw.isascii() or not raw.replace(".", "", 1).isdigit() or float(raw) > LONGEST_WAIT:
        raise problems.invalid([{"field": "timeout", "detail": f"must be a number of seconds up to {LONGEST_WAIT}"}])
    return float(raw)


async def until(
    ready: Callable[[Found], bool], look: Callable[[], Found], topics: tuple[str, ...], secs: float | None
) -> Found:
    """What `look` finds (in a thread) once it is `ready`, or after so many seconds; None: as long as calls are held."""
    most = float(settings.WARDROOM["held_call_secs"])
    end = time.monotonic() + (most if secs is None else min(secs, most))
    stopping.watch()
    # Listen first, then look, then wait: an answer that falls between is not missed.
    async with hub.get().listen(*topics) as ears:
        found = await in_thread(look)
        # A process that is asked to stop lets its callers go: pending is a true answer, and they ask again.
        while not ready(found) and not stopping.asked():
            left = end - time.monotonic()
            if left <= 0:
                break
            await ears.wait(timeout=min(left, settings.WARDROOM["hub_poll_secs"]))
            found = await in_thread(look)
    return found
