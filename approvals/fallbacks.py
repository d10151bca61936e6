"""Record what a caller did when nobody answered in time. It is no decision: the request stays as it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import audit_events, permissions, schemas
from approvals.models import Approval
from approvals.selectors import find
from approvals.states import UNANSWERED, Fallback
from core.db.clock import database_now
from core.web import problems
from ledger import unit_of_work


def record(project_id: Any, approval_id: UUID, action: Fallback, actor: Actor) -> Approval:
    """Record the fallback of the asker, once. The same fallback again changes nothing.

    Raises not-found, forbidden for a caller that did not ask, already-decided when there is an answer or the request
    was cancelled, and conflict when another fallback is recorded.
    """
    with unit_of_work.transaction():
        approval = find(project_id, approval_id, actor)
        permissions.check_asker(approval, actor)
        open_row = Approval.objects.filter(id=approval.id, status__in=sorted(UNANSWERED), fallback=None)
        recorded = open_row.update(fallback=action, fallback_at=database_now())
        approval = find(project_id, approval_id, actor)
        if recorded:
            audit_events.record_change(approval, "fallback", actor, reason="no_answer", fallback=action.value)
        elif approval.status not in UNANSWERED:
            current = schemas.current_decision(approval)
            raise problems.conflict(schemas.current_sentence(approval), "already-decided", approval=current)
        elif approval.fallback != action:
            raise problems.conflict(f"The fallback of this request is recorded already: {approval.fallback}.")
        return approval
