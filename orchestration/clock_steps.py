"""After the wall clock was set back: no moment of what goes on may lie in the future.

Every grace and idle clock counts from such a moment, and would stand still until it has come.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Model, QuerySet

from accounts.clock import database_now, later
from approvals import subjects
from ledger.outages import STEP_SECS
from orchestration.models import Attempt, Session, WebProcess
from orchestration.states import TERMINAL

ATTEMPT = ("created_at", "launched_at", "running_at", "last_event_at", "line_since", "line_lost_at", "exited_at")
log = logging.getLogger(__name__)


def mend(*, now: datetime | None = None) -> int:
    """Move what lies in the future to this moment; how many values were moved.

    Each UPDATE changes one row, so that none of them waits for a second lock while it holds a first. A value is only
    compared and replaced in SQL: it may be one that Python cannot read.
    """
    going_on = Session.objects.exclude(status__in=sorted(TERMINAL))
    moved = sum(_to_now(Attempt.objects.filter(ended_at=None), column, now) for column in ATTEMPT)
    moved += _to_now(going_on, "cancel_requested_at", now)
    moved += _to_now(WebProcess.objects.all(), "heartbeat_at", now)
    moved += _to_now(going_on, "wait_until", now, ahead=settings.WARDROOM["wait_lease_secs"])
    moved += subjects.mend_future(now)
    if moved:
        log.warning("%d moments lay in the future, because the clock was set back: they are moved to now", moved)
    return moved


def _to_now(rows: QuerySet[Any, Any], column: str, now: datetime | None, ahead: float = 0) -> int:
    """Set the column to now (plus `ahead`) where it is further in the future than that."""
    future = {f"{column}__gt": later(ahead + STEP_SECS, now)}
    moment = {column: later(ahead, now) if ahead else database_now(now)}
    found = rows.filter(**future).values_list("pk", flat=True)[:1000]
    model: type[Model] = rows.model
    return sum(model._default_manager.filter(pk=pk, **future).update(**moment) for pk in list(found))
