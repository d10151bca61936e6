"""Filter and count approvals by query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Min, Q

from accounts.actors import Actor
from approvals import schemas, selectors
from approvals.models import ApprovalQuerySet
from approvals.states import Outcome, Status
from core.web import queries


def filtered(rows: ApprovalQuerySet, params: Mapping[str, Any], actor: Actor) -> ApprovalQuerySet:
    """Filter by `status` and `outcome` (words, comma-separated), `session`, `tool`, `unconsumed=true` and `snoozed`.

    `snoozed` speaks of the caller's own snoozes. Raises invalid.
    """
    statuses = queries.words(params, "status", Status.values)
    session = queries.uuid(params, "session")
    tool = queries.text(params, "tool")
    if statuses is not None:
        rows = rows.filter(status__in=statuses)
    outcomes = queries.words(params, "outcome", Outcome.values)
    if outcomes is not None:
        rows = rows.filter(outcome__in=outcomes)
    if session is not None:
        rows = rows.filter(session=session)
    if tool is not None:
        rows = rows.filter(tool_name=tool)
    if params.get("snoozed") is not None:
        asleep = selectors.snoozed_by(actor.user_id)
        rows = rows.filter(asleep if queries.flag(params, "snoozed") else ~asleep)
    return rows.unconsumed() if queries.flag(params, "unconsumed") else rows


def counts(rows: ApprovalQuerySet) -> schemas.ApprovalCounts:
    """Count the approvals in each state and the approved ones that never ran, and find the oldest pending one."""
    numbers = rows.aggregate(
        count=Count("pk"),
        oldest_pending_at=Min("requested_at", filter=Q(status=Status.PENDING)),
        **{status.value: Count("pk", filter=Q(status=status)) for status in Status},
    )
    oldest = schemas.moment(numbers.pop("oldest_pending_at"))
    return schemas.ApprovalCounts(**numbers, unconsumed=rows.unconsumed().count(), oldest_pending_at=oldest)
