"""A held call: it waits on the event loop until what it looks for is there, and costs no thread meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.conf import settings

from accounts.models import Credential
from core.concurrency.threadpool import in_thread
from core.web import problems, queries
from ledger import hub, shutdown

#: The longest that a caller may say it would wait; a call is held for `held_call_secs` at most.
LONGEST_WAIT = 300
#: The query parameters of a held call.
PARAMETERS = ("timeout",)
#: What the OpenAPI document says of a held call.
BOUND = "A key or child may have 256 calls that wait at a web process (`held_calls_per_credential`); one more is a 429."

RETRY_SECS = 5

Found = TypeVar("Found")

#: Held calls of this process: the id of a credential -> how many.
_held: Counter[object] = Counter()


@contextmanager
def place(credential: Credential, secs: float | None) -> Iterator[None]:
    """Count a call while it is held; one that waits for 0 seconds is not. Raises 429 when its caller holds too many.

    Take it before anything is written: what is refused has done nothing.
    """
    if secs is not None and secs <= 0:
        yield
        return
    most = settings.WARDROOM["held_calls_per_credential"]
    if _held[credential.pk] >= most:
        raise problems.too_many(f"{most} calls of yours wait here. Let one of them end first.", RETRY_SECS)
    _held[credential.pk] += 1
    try:
        yield
    finally:
        _held[credential.pk] -= 1
        if not _held[credential.pk]:
            del _held[credential.pk]


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
    shutdown.watch()
    # Listen first, then look, then wait: an answer that falls between is not missed.
    async with hub.get().listen(*topics) as ears:
        found = await in_thread(look)
        # A process that is asked to stop lets its callers go: pending is a true answer, and they ask again.
        while not ready(found) and not shutdown.asked():
            left = end - time.monotonic()
            if left <= 0:
                break
            await ears.wait(timeout=min(left, settings.WARDROOM["hub_poll_secs"]))
            found = await in_thread(look)
    return found
