"""Remind the approvers of a pending request, by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import permissions
from approvals.life import steps
from approvals.models import Approval, Step
from approvals.selectors import find
from approvals.states import StepKind, Via
from core.db.clock import later
from core.web import problems
from ledger import unit_of_work

#: Seconds between two reminders of one request.
APART_SECS = 60


def remind(project_id: Any, approval_id: UUID, actor: Actor, note: str | None = None) -> Approval:
    """Remind the approvers. Allowed to the asker and to people who may answer, once a minute for each request.

    Raises not-found, not-an-approver, already-decided, expired, and too-many.
    """
    with unit_of_work.transaction():
        # Of two reminders at once, the second one finds the first.
        steps.lock(approval_id)
        approval = find(project_id, approval_id, actor)
        if not permissions.owns(approval, actor):
            permissions.check_decide(actor, project_id, Via.REST)
        steps.refuse_settled(approval)
        recent = Step.objects.filter(approval_id=approval_id, kind=StepKind.REMINDED, at__gt=later(-APART_SECS))
        if recent.exists():
            raise problems.too_many("It was reminded of less than a minute ago.", APART_SECS)
        steps.record(approval, StepKind.REMINDED, actor, reason="by_hand", note=note)
        return approval
