"""A held call: it waits on the event loop until what it looks for is there, and costs no thread meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.conf import settings

from accounts import queries
from accounts.offload import in_thread
from ledger import hub, stopping

#: The longest that a caller may say it would wait; a call is held for `held_call_secs` at most.
LONGEST_WAIT = 300
#: The query parameters of a held call.
PARAMETERS = ("timeout",)

Found = TypeVar("Found")


def patience(params: Mapping[str, Any], usual: float = 0) -> float:
    """The seconds of `?timeout=`, 422 for what is none; without it, `usual`."""
    given = queries.seconds(params, "timeout", most=LONGEST_WAIT)
    return usual if given is None else given


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
