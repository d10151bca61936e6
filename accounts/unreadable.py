"""Credentials with a row that cannot be read: each is refused and counted, and no other caller is affected."""

from __future__ import annotations

import logging
import time

from django.db import DataError

log = logging.getLogger(__name__)
#: Errors of a bad value. A fault of the database or of the statement would affect every row.
ERRORS = (DataError, ValueError, TypeError)
#: Seconds for which a refusal makes the process `degraded`.
RECENT_SECS = 300.0
MOST = 1000

_refused: dict[str, float] = {}


def refuse(public_id: str, error: Exception) -> None:
    """Count and log the refusal of one credential."""
    if len(_refused) >= MOST and public_id not in _refused:
        del _refused[next(iter(_refused))]
    _refused[public_id] = time.monotonic()
    log.error("the row of credential %s cannot be read: it is refused", public_id, exc_info=error)


def recent() -> int:
    """Return the number of credentials that were refused recently, for `/readyz`."""
    now = time.monotonic()
    return sum(now - at < RECENT_SECS for at in list(_refused.values()))
