"""A long poll: a call that waits on the event loop until its result is ready, and needs no thread meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from accounts.models import Credential
from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from core.web import problems, queries
from ledger import hub, shutdown

#: The longest timeout that a caller may give. A call waits for `held_call_secs` at most.
LONGEST_WAIT = 300
#: The query parameters of a long poll.
PARAMETERS = ("timeout",)
#: The description in the OpenAPI document.
BOUND = (
    "A key or child may have 256 such calls at once per web process (`held_calls_per_credential`), calls with "
    "`timeout=0` included; one more is a 429."
)

RETRY_SECS = 5

Found = TypeVar("Found")

#: Waiting calls of this process: the id of a credential -> their number.
_held: Counter[object] = Counter()


@contextmanager
def place(credential: Credential) -> Iterator[None]:
    """Count a call from its first look to its answer. Raises 429 if its caller has too many.

    A call that waits for 0 seconds counts too: a caller that repeats it in a loop costs as much as one that waits. Call
    it before anything is written, so that a refused call has had no effect.
    """
    most = LIMITS.held_calls_per_credential
    if _held[credential.pk] >= most:
        raise problems.too_many(f"{most} calls of yours wait here. Let one of them end first.", RETRY_SECS)
    _held[credential.pk] += 1
    try:
        yield
    finally:
        _held[credential.pk] -= 1
        if not _held[credential.pk]:
            del _held[credential.pk]


def patience(params: Mapping[str, Any], usual: float | None = 0) -> float | None:
    """Return the seconds of `?timeout=`, or `usual` without it. None: the longest wait. 422 for an invalid value."""
    given = queries.seconds(params, "timeout", most=LONGEST_WAIT)
    return usual if given is None else given


async def until(
    ready: Callable[[Found], bool],
    look: Callable[[], Found],
    topics: tuple[str, ...],
    secs: float | None,
    waiting: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> Found:
    """Call `look` in a thread until its result is `ready`, or until `secs` have passed. 0: look once. None: the longest
    wait of a call.

    `waiting` is entered only if the first look is not ready.
    """
    most = float(LIMITS.held_call_secs)
    end = time.monotonic() + (most if secs is None else min(secs, most))
    shutdown.watch()
    # Listen first, then look, then wait: an answer that comes in between is not missed.
    async with hub.get().listen(*topics) as subscription:
        found = await run_in_threadpool(look)
        if ready(found) or time.monotonic() >= end:
            return found
        async with waiting():
            # On shutdown, answer the waiting callers: pending is a correct answer, and they ask again.
            while not ready(found) and not shutdown.asked():
                left = end - time.monotonic()
                if left <= 0:
                    break
                await subscription.wait(timeout=min(left, LIMITS.hub_poll_secs))
                found = await run_in_threadpool(look)
    return found
