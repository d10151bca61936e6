"""Settle an unknown outcome: a person looks at the changed system and says whether the action ran."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import audit_events, permissions
from approvals.models import Approval, OutcomeNote
from approvals.outcomes import bodies, repeat_warnings
from approvals.rules import rights
from approvals.selectors import find
from approvals.states import Outcome, OutcomeNoteKind, Via
from core.db import returning
from core.db.clock import database_now
from core.web import problems, request_body
from ledger import unit_of_work

_WORDS = {Outcome.RAN: "it ran", Outcome.DID_NOT_RUN: "it did not run"}


def settle(project_id: Any, approval_id: UUID, actor: Actor, *, settled_as: str, note: str) -> Approval:
    """Settle an unknown outcome, once. The same settlement again changes nothing.

    Raises not-found, not-an-approver, self-approval, invalid, already-settled for another settlement, and not-unknown
    when the outcome is not in doubt.
    """
    said = request_body.convert({"settled_as": settled_as, "note": note}, bodies.ApprovalUnknownOutcome)
    to = Outcome(said.settled_as)
    with unit_of_work.transaction():
        approval = find(project_id, approval_id, actor, waiters=False)
        permissions.check_decide(actor, project_id, Via.REST)
        # Who may not decide it may not say either that it did not run: that lets it be asked again.
        rights.check_answer(approval, actor)
        rows = Approval.objects.filter(id=approval_id, outcome=Outcome.UNKNOWN, outcome_settled_as=None)
        for changed in returning.update(rows, outcome=to, outcome_settled_as=to):
            OutcomeNote.objects.create(
                approval=changed,
                kind=OutcomeNoteKind.SETTLED,
                outcome=to,
                at=database_now(),
                by=audit_events.person(actor),
                note=note,
            )
            told = {"outcome": to.value}
            audit_events.record_change(changed, "outcome_settled", actor, reason=to.value, told=told)
            repeat_warnings.settled(changed, actor)
        approval = find(project_id, approval_id, actor, waiters=False)
        if approval.outcome_settled_as is None:
            raise problems.conflict(
                "The outcome of this action is not in doubt.", "not-unknown", outcome=approval.outcome
            )
        if approval.outcome_settled_as != to:
            words = _WORDS[Outcome(approval.outcome_settled_as)]
            raise problems.conflict(
                f"It was settled already: {words}.", "already-settled", settled_as=str(approval.outcome_settled_as)
            )
        return approval
