"""Find the actions that were taken to run and whose end nobody reported.

An executor that crashes after it consumed an approval leaves an action that may have run, or not, or half. Nobody but a
person can settle that, so it is kept apart from everything that is known.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from approvals import audit_events
from approvals.bodies import MAX_WORD
from approvals.models import Approval, OutcomeNote, Subject
from approvals.outcomes import repeat_warnings, repeats
from approvals.states import RUNS, Outcome, OutcomeNoteKind, Status
from core.db import returning
from core.db.clock import database_now, later
from core.limits import LIMITS
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work

SWEEPER = Actor.system("outcomes")
WORK = Work("approvals_expiry_sweep", "outcomes")
#: The outcomes that a later doubt of the executor replaces.
DOUBTED = Q(outcome__isnull=True) | Q(outcome=Outcome.UNREPORTED)


def attempt_ended(session_id: UUID, attempt: int, *, in_order: bool) -> None:
    """Settle the outcomes that an attempt left without a report. Joins the caller's transaction.

    An attempt that completed or suspended itself knew how its tools ended, so nothing is in doubt. Any other end may
    have come in the middle of a tool. Call it before the clock of the attempt is closed: approvals are locked first.
    """
    with unit_of_work.transaction():
        left = Approval.objects.of(session_id, attempt).filter(consumed_at__isnull=False, outcome__isnull=True)
        if in_order:
            left.update(outcome=Outcome.UNREPORTED)
            return
        for approval in left.order_by("id"):
            become_unknown(approval, SWEEPER, "attempt_ended")


def sweep(limit: int = 200) -> int:
    """Sweeper: find outcomes without a report in time, and those of attempts that are over. Return their number."""
    closed = Subject.objects.filter(session=OuterRef("session"), attempt=OuterRef("attempt"), closed_at__isnull=False)
    open_rows = Approval.objects.filter(consumed_at__isnull=False, outcome__isnull=True)
    late = Q(consumed_at__lte=later(-LIMITS.outcome_report_secs))
    due = open_rows.filter(late | Exists(closed)).order_by("consumed_at").values_list("id", flat=True)
    return sweep_batch.each(WORK, lambda most: due[:most], _missed, limit=limit)


def _missed(approval_id: UUID) -> int:
    with unit_of_work.transaction():
        approval = Approval.objects.filter(id=approval_id).first()
        return int(approval is not None and become_unknown(approval, SWEEPER, "no_report"))


def note(session_id: UUID, named: str, detail: str, probe: Any = None) -> bool:
    """Record for staff that the child does not know how the run of this request ended, once for each request.

    Return False for a request that this session never made, and for one that is recorded already.
    """
    with unit_of_work.transaction():
        rows = Approval.objects.filter(session=session_id, request_id=named[:MAX_WORD]).order_by("-attempt")
        approval = rows.first()
        if approval is None:
            return False
        child = audit_events.child(approval)
        if approval.status == Status.APPROVED and approval.decision_kind in RUNS:
            return become_unknown(approval, child, "reported", detail=detail, probe=probe)
        fresh = Approval.objects.filter(id=approval.id, outcome_unknown_at=None)
        if not fresh.update(outcome_unknown_at=database_now()):
            return False
        noted = {"approval": str(approval.id), "detail": detail}
        unit_of_work.audit(approval.project_id, child, "approval.unknown_outcome", named, noted)
        return True


def become_unknown(
    approval: Approval, actor: Actor, reason: str, *, detail: str | None = None, probe: Any = None
) -> bool:
    """Mark an outcome as unknown, unless it is known or marked already. Joins the caller's transaction."""
    rows = Approval.objects.filter(DOUBTED, id=approval.id, outcome_reported_at=None)
    at = database_now()
    digest = repeats.digest_of(approval.action)
    for changed in returning.update(
        rows, outcome=Outcome.UNKNOWN, outcome_unknown_at=Coalesce("outcome_unknown_at", at), repeat_digest=digest
    ):
        kind = OutcomeNoteKind.REPORTED if reason == "reported" else OutcomeNoteKind.MISSED
        OutcomeNote.objects.create(
            approval=changed,
            kind=kind,
            outcome=Outcome.UNKNOWN,
            at=at,
            by=audit_events.person(actor),
            detail=detail or None,
            probe=probe,
        )
        audit_events.record_change(changed, "unknown_outcome", actor, reason=reason, detail=detail or None)
        repeat_warnings.doubted(changed, actor)
        return True
    return False
