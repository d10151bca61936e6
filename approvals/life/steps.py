"""The one way to change a pending request without an answer: check the caller, run one guarded UPDATE, record it.

`version` rises with what a person decides on: the deadline, the questions and their answers, the verdicts of reviewers,
and the people that the request is for. It does not rise with a claim or a snooze, which stop nobody from answering.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import F, Q

from accounts.actors import Actor
from approvals import audit_events, decisions, permissions
from approvals.models import Approval, Step
from approvals.rules import rights
from approvals.selectors import find
from approvals.states import Status, StepKind, Via
from core.db import returning
from core.db.clock import database_now
from ledger import unit_of_work

#: The steps that change what a person decides on.
SHOWN = frozenset({
    StepKind.DELEGATED, StepKind.EXTENDED, StepKind.ESCALATED, StepKind.ASKED_BACK, StepKind.ANSWERED,
    StepKind.REVIEWED, StepKind.REPEAT_SETTLED,
})  # fmt: skip


def pending(project_id: Any, approval_id: UUID, actor: Actor) -> Approval:
    """Return a pending request that this approver may change.

    Raises not-found, not-an-approver, already-decided and expired, in this order.
    """
    approval = find(project_id, approval_id, actor)
    permissions.check_decide(actor, project_id, Via.REST)
    rights.check_named(approval, actor)
    refuse_settled(approval)
    return approval


def lock(approval_id: UUID) -> None:
    """Lock the row of a request, so that a decision or another step comes before or after. Requires a transaction."""
    Approval.objects.select_for_update(no_key=True).filter(id=approval_id).first()


def refuse_settled(approval: Approval) -> None:
    """Raise already-decided or expired unless the request still waits for an answer."""
    if approval.status != Status.PENDING or approval.is_overdue:
        raise decisions.settled_already(approval)


def take(
    approval: Approval,
    kind: StepKind,
    actor: Actor,
    columns: dict[str, Any],
    *,
    reason: str,
    only: Q | None = None,
    note: str | None = None,
    detail: dict[str, Any] | None = None,
    audited: dict[str, Any] | None = None,
) -> Approval | None:
    """Change these columns while the request is pending, in time and `only` holds. Return None when it is not so.

    `audited` are members of the audit row that are not in the event.

    Joins the caller's transaction. The row stays locked until its end.
    """
    rows = Approval.objects.pending().in_time(database_now()).filter(only or Q(), id=approval.id)
    if kind in SHOWN:
        columns = {**columns, "version": F("version") + 1}
    for changed in returning.update(rows, **columns):
        record(changed, kind, actor, reason=reason, note=note, detail=detail, audited=audited)
        return changed
    return None


def record(
    approval: Approval,
    kind: StepKind,
    actor: Actor,
    *,
    reason: str,
    note: str | None = None,
    detail: dict[str, Any] | None = None,
    audited: dict[str, Any] | None = None,
) -> None:
    """Write the step, its event and its audit row. Call it inside the transaction of the change."""
    with unit_of_work.transaction():
        Step.objects.create(
            approval=approval,
            kind=kind,
            at=database_now(),
            by=audit_events.person(actor),
            detail=detail or {},
            note=note or None,
        )
        audit_events.record_change(
            approval, kind.value, actor, reason=reason, told=detail, **(detail or {}), **(audited or {})
        )
