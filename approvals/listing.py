"""Lists and numbers of approvals, as filters ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Min, Q

from accounts import problems
from approvals import bodies, shapes
from approvals.actions import storable
from approvals.models import ApprovalQuerySet
from approvals.states import Status


def filtered(rows: ApprovalQuerySet, params: Mapping[str, Any]) -> ApprovalQuerySet:
    """By `status` (words, comma-separated), `session`, `tool`, and `unconsumed=true`. Raises invalid."""
    if params.get("status"):
        rows = rows.filter(status__in=_statuses(params["status"]))
    if params.get("session"):
        rows = rows.filter(session=bodies.uuid(params["session"], "session"))
    if params.get("tool"):
        # PostgreSQL cannot even compare with a NUL, and no tool's name holds one.
        rows = rows.filter(tool_name=params["tool"]) if storable(params["tool"]) else rows.none()
    if params.get("unconsumed") in ("1", "true"):
        rows = rows.unconsumed()
    return rows


def counts(rows: ApprovalQuerySet) -> dict[str, Any]:
    """How many there are in each state, how many of the approved never ran, and since when the oldest waits."""
    numbers = rows.aggregate(
        count=Count("pk"),
        oldest_pending_at=Min("requested_at", filter=Q(status=Status.PENDING)),
        **{status.value: Count("pk", filter=Q(status=status)) for status in Status},
    )
    oldest = shapes.moment(numbers.pop("oldest_pending_at"))
    return {**numbers, "unconsumed": rows.unconsumed().count(), "oldest_pending_at": oldest}


def _statuses(text: str) -> list[str]:
    words = text.split(",")
    if not set(words) <= set(Status.values):
        raise problems.invalid([{"field": "status", "detail": f"some of {', '.join(Status.values)}"}])
    return words
