"""Say whom a request is for: delegate it, escalate it, or put it out of one's own queue for a while.

None of these is a right: whoever may answer in the project still may.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import F, Q

from accounts.actors import Actor
from approvals import permissions
from approvals.life import steps
from approvals.models import Approval, Snooze
from approvals.selectors import find
from approvals.states import StepKind
from core.db.clock import database_now, later
from core.web import problems
from ledger import unit_of_work

NOBODY = "nobody by this name may answer in this project"


def delegate(
    project_id: Any,
    approval_id: UUID,
    actor: Actor,
    *,
    user: str | None = None,
    group: str | None = None,
    note: str | None = None,
) -> Approval:
    """Hand a pending request to a person or a group. It stays pending, and its history tells so.

    Raises not-found, not-an-approver, already-decided, expired, and invalid for a target that may not answer here.
    """
    with unit_of_work.transaction():
        approval = steps.pending(project_id, approval_id, actor)
        assignee = _assignee(project_id, user, group)
        if assignee is None:
            raise problems.invalid([{"field": "user", "detail": "name a user or a group"}])
        columns = {"assigned_to": assignee, "claimed_by": None, "claimed_until": None}
        taken = steps.take(
            approval, StepKind.DELEGATED, actor, columns, reason="asked", note=note, detail={"to": assignee}
        )
        return _after(taken, project_id, approval_id, actor)


def escalate(
    project_id: Any,
    approval_id: UUID,
    actor: Actor,
    *,
    user: str | None = None,
    group: str | None = None,
    note: str | None = None,
) -> Approval:
    """Mark a pending request as urgent, and hand it to a person or a group if one is named. Raises as `delegate`."""
    with unit_of_work.transaction():
        approval = steps.pending(project_id, approval_id, actor)
        assignee = _assignee(project_id, user, group)
        columns: dict[str, Any] = {"escalated_at": database_now(), "escalations": F("escalations") + 1}
        if assignee is not None:
            columns |= {"assigned_to": assignee, "claimed_by": None, "claimed_until": None}
        detail = {"to": assignee} if assignee else {}
        taken = steps.take(approval, StepKind.ESCALATED, actor, columns, reason="by_hand", note=note, detail=detail)
        if taken is not None:
            # An urgent request is for everybody's eyes again.
            Snooze.objects.filter(approval_id=approval_id).delete()
        return _after(taken, project_id, approval_id, actor)


def snooze(project_id: Any, approval_id: UUID, actor: Actor, for_secs: int) -> Approval:
    """Put a pending request out of the caller's own queue for some seconds; 0 brings it back. Nobody else is affected.

    Raises not-found, not-an-approver, already-decided, expired, and invalid when the request expires before that.
    """
    with unit_of_work.transaction():
        # An escalation ends every snooze: one that is being stored must come before it, or after.
        steps.lock(approval_id)
        approval = steps.pending(project_id, approval_id, actor)
        own = Snooze.objects.filter(approval_id=approval_id, user=actor.user)
        if for_secs == 0:
            if own.delete()[0]:
                steps.record(approval, StepKind.SNOOZED, actor, reason="asked", detail={"for_secs": 0})
            return approval
        lasting = Q(expires_at__isnull=True) | Q(expires_at__gt=later(for_secs))
        if not Approval.objects.filter(lasting, id=approval_id).exists():
            raise problems.invalid([{"field": "for_secs", "detail": "the request expires before that"}])
        Snooze.objects.update_or_create(approval_id=approval_id, user=actor.user, defaults={"until": later(for_secs)})
        steps.record(approval, StepKind.SNOOZED, actor, reason="asked", detail={"for_secs": for_secs})
        return approval


def _after(taken: Approval | None, project_id: Any, approval_id: UUID, actor: Actor) -> Approval:
    """Return the request as it is now. Raise why the step was not taken."""
    approval = find(project_id, approval_id, actor)
    if taken is None:
        steps.refuse_settled(approval)
    return approval


def _assignee(project_id: Any, user: str | None, group: str | None) -> dict[str, Any] | None:
    """Return the target of a delegation as the row stores it. Raises invalid for one that may not answer here."""
    if user is not None and group is not None:
        raise problems.invalid([{"field": "group", "detail": "name a user or a group, not both"}])
    if user is not None:
        person = permissions.approvers(project_id).filter(username=user).first()
        if person is None:
            raise problems.invalid([{"field": "user", "detail": NOBODY}])
        return {"kind": "user", "id": str(person.pk), "name": person.get_username()}
    if group is not None:
        able = permissions.approvers(project_id)
        found = Group.objects.filter(name=group, projects=project_id, user__in=able).first()
        if found is None:
            raise problems.invalid([{"field": "group", "detail": NOBODY}])
        return {"kind": "group", "id": str(found.pk), "name": found.name}
    return None
