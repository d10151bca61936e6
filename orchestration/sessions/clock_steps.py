"""Correct stored times that lie in the future after the wall clock was set back.

Every grace period and idle clock counts from such a time, and would stand still until that time is reached.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db.models import QuerySet

from approvals import attempt_clock
from core.db.clock import database_now, later
from core.limits import LIMITS
from ledger import sweep_batch
from ledger.outages import STEP_SECS
from ledger.sweep_batch import Work
from orchestration.models import Attempt, Session, WebProcess
from orchestration.states import TERMINAL

ATTEMPT = (
    "created_at",
    "launched_at",
    "running_at",
    "last_event_at",
    "connection_since",
    "connection_lost_at",
    "exited_at",
)
WORK = Work("connections_sweep", "moments in the future")
MOST = 1000
log = logging.getLogger(__name__)

Row = tuple[str, str, Any]


def correct_future() -> int:
    """Move future times of open rows to the present, and return how many values were moved.

    Each UPDATE changes one row, so it never waits for a second lock while it holds a first. A value is compared and
    replaced only in SQL, because Python may be unable to read it.
    """

    def find(most: int) -> list[Row]:
        found: list[Row] = []
        for (kind, column), (rows, ahead) in _columns().items():
            future = rows.filter(**{f"{column}__gt": later(ahead + STEP_SECS)})
            found += [(kind, column, pk) for pk in future.values_list("pk", flat=True)[:MOST]]
        return found

    def correct(row: Row) -> int:
        kind, column, pk = row
        rows, ahead = _columns()[kind, column]
        future = rows.filter(**{f"{column}__gt": later(ahead + STEP_SECS)}, pk=pk)
        return future.update(**{column: later(ahead) if ahead else database_now()})

    moved = sweep_batch.each(WORK, find, correct) + attempt_clock.mend_future()
    if moved:
        log.warning("%d times lay in the future because the clock was set back: moved them to now", moved)
    return moved


def _columns() -> dict[tuple[str, str], tuple[QuerySet[Any], float]]:
    """Return the columns to correct: the open rows of each, and how many seconds ahead a value may be."""
    sessions = Session.objects.exclude(status__in=sorted(TERMINAL))
    open_attempts: QuerySet[Any] = Attempt.objects.filter(ended_at=None)
    return {
        **{("attempt", column): (open_attempts, 0.0) for column in ATTEMPT},
        ("session", "cancel_requested_at"): (sessions, 0.0),
        ("session", "wait_until"): (sessions, float(LIMITS.wait_lease_secs)),
        ("web process", "heartbeat_at"): (WebProcess.objects.all(), 0.0),
    }
