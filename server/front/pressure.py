"""The recent refusals of this process because of a limit, for `/readyz`."""

from __future__ import annotations

import logging
import time

#: Seconds for which a refusal makes the process `degraded`.
RECENT_SECS = 30.0

_last: dict[str, float] = {}
_counts: dict[str, int] = {}
log = logging.getLogger(__name__)


def note(bound: str) -> None:
    """Count one refusal, and log the first after a quiet time."""
    now = time.monotonic()
    if now - _last.get(bound, -RECENT_SECS) >= RECENT_SECS:
        _counts[bound] = 0
        log.warning("the front gate refuses callers: the limit %s is reached", bound)
    _last[bound] = now
    _counts[bound] += 1


def recent() -> dict[str, int]:
    """Return each limit that was reached recently, with its number of refusals since the first."""
    now = time.monotonic()
    return {bound: _counts[bound] for bound, at in _last.items() if now - at < RECENT_SECS}
