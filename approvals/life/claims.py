"""Claim a request: tell the others who looks at it. A claim is a lease, and stops nobody from answering."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q

from accounts.actors import Actor
from approvals import audit_events, schemas
from approvals.life import bodies, steps
from approvals.models import Approval
from approvals.selectors import find
from approvals.states import StepKind
from core.db.clock import database_now, later
from core.web import problems
from ledger import unit_of_work


def claim(project_id: Any, approval_id: UUID, actor: Actor, lease_secs: int | None = None) -> Approval:
    """Claim a request, or renew one's own claim. A claim that has ended may be taken by anybody.

    Raises not-found, not-an-approver, already-decided, expired, and claimed while another person's claim lasts.
    """
    secs = lease_secs or bodies.USUAL_CLAIM
    with unit_of_work.transaction():
        approval = steps.pending(project_id, approval_id, actor)
        columns = {"claimed_by": audit_events.person(actor), "claimed_until": later(secs)}
        mine = Q(claimed_by__user_id=actor.user_id)
        free = Q(claimed_until__isnull=True) | Q(claimed_until__lte=database_now()) | mine
        taken = steps.take(
            approval, StepKind.CLAIMED, actor, columns, only=free, reason="asked", detail={"lease_secs": secs}
        )
        if taken is None:
            raise _refusal(project_id, approval_id, actor)
        return find(project_id, approval_id, actor)


def release(project_id: Any, approval_id: UUID, actor: Actor) -> Approval:
    """Give up one's own claim. Without a claim there is nothing to do. Raises as `claim` does."""
    with unit_of_work.transaction():
        approval = steps.pending(project_id, approval_id, actor)
        columns = {"claimed_by": None, "claimed_until": None}
        mine = Q(claimed_by__user_id=actor.user_id)
        if steps.take(approval, StepKind.RELEASED, actor, columns, only=mine, reason="asked") is None:
            others = Approval.objects.pending().filter(id=approval_id, claimed_until__gt=database_now())
            if others.exists():
                raise _refusal(project_id, approval_id, actor)
        return find(project_id, approval_id, actor)


def _refusal(project_id: Any, approval_id: UUID, actor: Actor) -> problems.Problem:
    approval = find(project_id, approval_id, actor)
    steps.refuse_settled(approval)
    name = schemas.display_name(approval.claimed_by)
    return problems.conflict(
        f"{name} looks at it.",
        "claimed",
        claimed_by=approval.claimed_by,
        claimed_until=schemas.moment(approval.claimed_until),
    )
