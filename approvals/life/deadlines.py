"""Extend the deadline of a pending request."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q

from accounts.actors import Actor
from approvals.bodies import MAX_EXPIRES_SECS
from approvals.life import steps
from approvals.models import Approval
from approvals.selectors import find
from approvals.states import StepKind
from core.db.clock import later
from core.web import problems
from ledger import unit_of_work


def extend(
    project_id: Any, approval_id: UUID, actor: Actor, *, expires_in_secs: int, note: str | None = None
) -> Approval:
    """Move the deadline to this many seconds from now. It only ever moves to a later time.

    A deadline is at most as long after the ask as an asker may ask for. Raises not-found, not-an-approver,
    already-decided, expired, conflict for a request without a deadline, and invalid for a time that is out of bounds.
    """
    with unit_of_work.transaction():
        approval = steps.pending(project_id, approval_id, actor)
        until = later(expires_in_secs)
        bounded = Q(expires_at__lt=until, requested_at__gt=later(expires_in_secs - MAX_EXPIRES_SECS))
        taken = steps.take(
            approval,
            StepKind.EXTENDED,
            actor,
            {"expires_at": until},
            only=bounded,
            reason="by_hand",
            note=note,
            detail={"expires_in_secs": expires_in_secs},
        )
        approval = find(project_id, approval_id, actor)
        if taken is None:
            steps.refuse_settled(approval)
            if approval.expires_at is None:
                raise problems.conflict("It has no deadline.")
            detail = (
                f"must lead to a time after the deadline, and at most {MAX_EXPIRES_SECS // 86_400} days after the ask"
            )
            raise problems.invalid([{"field": "expires_in_secs", "detail": detail}])
        return approval
