"""What this process had to refuse lately because a bound was reached, for `/readyz`."""

from __future__ import annotations

import logging
import time

#: A refusal makes the process `degraded` for so long.
RECENT_SECS = 30.0

_last: dict[str, float] = {}
_counts: dict[str, int] = {}
log = logging.getLogger(__name__)


def note(bound: str) -> None:
    """Count one refusal, and log the first after a quiet time."""
    now = time.monotonic()
    if now - _last.get(bound, -RECENT_SECS) >= RECENT_SECS:
        _counts[bound] = 0
        log.warning("the front door refuses callers: the bound on %s is reached", bound)
    _last[bound] = now
    _counts[bound] += 1


def recent() -> dict[str, int]:
    """Each bound that was reached lately, with its refusals since it was first."""
    now = time.monotonic()
    return {bound: _counts[bound] for bound, at in _last.items() if now - at < RECENT_SECS}
