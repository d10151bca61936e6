"""Which approvals a caller may see: those of its project; a child, and a key that may only ask, those that it asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Case, Count, IntegerField, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce

from accounts import problems
from accounts.actors import Actor
from accounts.clock import database_now
from approvals import askers
from approvals.models import Approval, ApprovalQuerySet, Waiter
from approvals.states import Status


def seen_by(project_id: Any, actor: Actor) -> ApprovalQuerySet:
    """The approvals of this project that this caller may name."""
    return Approval.objects.filter(askers.seen_by(actor), project_id=project_id)


def find(project_id: Any, approval_id: UUID, actor: Actor, now: datetime | None = None) -> Approval:
    """One of them, with `is_overdue` and `waiters`. Raises not-found, alike for the unknown and the foreign."""
    found = judged(seen_by(project_id, actor), now).filter(id=approval_id).first()
    if found is None:
        raise problems.not_found()
    return found


def judged(rows: ApprovalQuerySet, now: datetime | None = None) -> ApprovalQuerySet:
    """Annotate what the database's clock says: `is_overdue` (pending past its deadline) and live `waiters`."""
    at = database_now(now)
    waiting = (
        Waiter.objects.filter(approval=OuterRef("pk"), lease_until__gt=at)
        .order_by()
        .values("approval")
        .annotate(number=Count("pk"))
        .values("number")
    )
    # The model declares both for readers; only here they get a value.
    return rows.annotate(  # type: ignore[no-redef]
        is_overdue=Case(
            When(Q(status=Status.PENDING, expires_at__lte=at), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
        waiters=Coalesce(Subquery(waiting, output_field=IntegerField()), 0),
    )
