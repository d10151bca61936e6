"""Ask the asker a question about its pending request. The answer is shown to people, and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from accounts.actors import Actor
from approvals import audit_events, permissions
from approvals.life import bodies, steps
from approvals.models import Approval, Question
from approvals.selectors import find
from approvals.states import StepKind
from core.db.clock import database_now
from core.web import problems, request_body
from ledger import quota, unit_of_work

#: The most questions about one request.
MOST_QUESTIONS = 32


def ask(project_id: Any, approval_id: UUID, actor: Actor, question: str) -> Approval:
    """Ask back. The request stays pending; its asker gets the question over its connection, or reads it by REST.

    Raises not-found, not-an-approver, already-decided, expired, and too-many.
    """
    request_body.convert({"question": question}, bodies.ApprovalAskBack)
    with unit_of_work.transaction():
        approval = steps.pending(project_id, approval_id, actor)
        new = Question(
            approval=approval, question=question, asked_by=audit_events.person(actor), asked_at=database_now()
        )
        detail = {"question_id": str(new.id)}
        columns = {"open_questions": F("open_questions") + 1}
        taken = steps.take(approval, StepKind.ASKED_BACK, actor, columns, reason="asked", detail=detail)
        approval = find(project_id, approval_id, actor)
        if taken is None:
            steps.refuse_settled(approval)
        # The row of the approval is locked by now, so concurrent questions count each other.
        if Question.objects.filter(approval_id=approval_id).count() >= MOST_QUESTIONS:
            raise problems.too_many(f"A request takes at most {MOST_QUESTIONS} questions.", 3600)
        new.save(force_insert=True)
        return approval


def answer(
    project_id: Any, question_id: UUID | None, said: str, actor: Actor, *, approval_id: UUID | None = None
) -> Approval:
    """Answer a question, once. The same answer again changes nothing.

    Raises not-found, forbidden for a caller that did not ask for the approval, already-answered, and already-decided or
    expired: nobody reads an answer after the decision.
    """
    request_body.convert({"answer": said}, bodies.ApprovalQuestionAnswer)
    with unit_of_work.transaction():
        of = Q() if approval_id is None else Q(approval_id=approval_id)
        rows = Question.objects.filter(of, approval__project_id=project_id)
        question = None if question_id is None else rows.filter(id=question_id).first()
        if question is None:
            raise problems.not_found()
        # Of two equal answers at once, the second one finds the first.
        steps.lock(question.approval_id)
        question.refresh_from_db()
        approval = find(project_id, question.approval_id, actor)
        permissions.check_asker(approval, actor)
        if question.answer is None:
            steps.refuse_settled(approval)
            columns = {"open_questions": F("open_questions") - 1}
            detail = {"question_id": str(question.id)}
            # This locks the row: of two answers the second one finds no open question here, or the first one below.
            open_one = Q(open_questions__gt=0)
            taken = steps.take(
                approval, StepKind.ANSWERED, actor, columns, only=open_one, reason="answered", detail=detail
            )
            fresh = Question.objects.filter(id=question.id, answer=None)
            if taken is not None and fresh.update(answer=said, answered_at=database_now()):
                if actor.session is not None:
                    quota.keep(actor.session, said)
                return find(project_id, question.approval_id, actor)
            steps.refuse_settled(find(project_id, question.approval_id, actor))
            raise _answered()
        if question.answer != said:
            raise _answered()
        return approval


def unanswered(approvals: Sequence[Approval]) -> list[Question]:
    """Return the open questions about these requests, oldest first."""
    found = Question.objects.filter(approval__in=approvals, answer=None).select_related("approval")
    return list(found.order_by("asked_at", "id"))


def _answered() -> problems.Problem:
    return problems.conflict("This question has another answer already.", "already-answered")
