"""Track a decision until its action runs: delivered once and consumed once, by the attempt that asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from approvals import attempt_clock, audit_events, canonical_action, permissions, schemas, verdicts
from approvals.bodies import ApprovalConsumption
from approvals.display import copies, revealing
from approvals.life import preconditions as facts_module
from approvals.life.preconditions import Facts
from approvals.models import Approval, ApprovalQuerySet, PolicyVersion
from approvals.selectors import find
from approvals.states import RUNS, RequestVia, Status
from core.db import returning
from core.db.clock import database_now
from core.db.compiled import CompiledQueries
from core.web import problems, request_body
from ledger import unit_of_work

_UNACKNOWLEDGED: CompiledQueries[Approval] = CompiledQueries()


def unacknowledged(
    session_id: UUID, attempt: int, include_unconsumed: bool = False, include_questions: bool = False
) -> list[Approval]:
    """Return the answered requests over the connection that this attempt has not acknowledged.

    With `include_unconsumed`, also return those it has acknowledged and not consumed. With `include_questions`, also
    return the pending ones with an open question: one statement finds all that a connection has to send.
    """

    def build(values: Any) -> Any:
        due = Q(delivered_at__isnull=True)
        if include_unconsumed:
            due |= Q(consumed_at__isnull=True)
        due &= ~Q(status=Status.PENDING)
        if include_questions:
            due |= Q(status=Status.PENDING, open_questions__gt=0)
        asked = Approval.objects.of(values["session"], values["attempt"]).filter(via=RequestVia.CONNECTION)
        return asked.filter(due).order_by("settled_at", "id")

    shape = include_unconsumed, include_questions
    return _UNACKNOWLEDGED.rows(shape, {"session": session_id, "attempt": attempt}, build)


def acknowledge(session_id: UUID, attempt: int, request_id: str, *, actor: Actor | None = None) -> Approval:
    """Record that the answer reached the child. Repeating it changes nothing.

    Raises not-found, and conflict while there is no answer.
    """
    asked = _asked(session_id, attempt, request_id)
    with unit_of_work.transaction():
        delivered = _deliver(asked, actor, "acknowledged")
        if delivered is not None:
            return delivered
        approval = _first(asked)
        if approval.status == Status.PENDING:
            raise problems.conflict("There is no answer yet to acknowledge.")
        return approval


def hand_over(approval: Approval, actor: Actor) -> Approval:
    """Record the delivery when the asker's own wait returns the answer. A read by another caller delivers nothing."""
    if approval.status == Status.PENDING or approval.delivered_at or not permissions.is_requester(approval, actor):
        return approval
    with unit_of_work.transaction():
        _deliver(Approval.objects.filter(id=approval.id), actor, "read")
        approval.refresh_from_db()
    return approval


def consume(
    project_id: Any, approval_id: UUID, *, digest: Any, claim: Any = None, preconditions: Any = None, actor: Actor
) -> Approval:
    """Take the one execution of exactly this action (I7). The same claim again gets the same answer again.

    Raises not-found, forbidden (the caller neither asked nor may answer), invalid, digest-mismatch, not-approved,
    stale, consumed, policy-changed (a rule denies it now), and not-running when the attempt that asked is over: nothing
    of that attempt may run any more.

    The executor states the preconditions as it finds them now. Other ones than those approved make the approval stale
    for good: it is kept, and never runs.
    """
    facts = _check_words(digest, claim, preconditions)
    digest = canonical_action.as_hex(digest)
    with facts_module.noting(), unit_of_work.transaction():
        approval = find(project_id, approval_id, actor, waiters=False)
        permissions.check_act(approval, actor)
        revealing.check_run(approval, actor)
        taken = _take(Approval.objects.filter(id=approval.id), digest, claim, facts, actor)
        if taken is None:
            taken = Approval.objects.get(id=approval.id)
            _refuse_other(taken, digest, claim, facts)
        # Also for the same claim: a run that had not begun when its attempt ended must not begin now.
        refuse_over(approval)
        if not permissions.owns(approval, actor) and copies.has_secrets(approval):
            revealing.note(approval, actor, "consumed")
        return taken


def consume_request(
    session_id: UUID,
    attempt: int,
    request_id: str,
    *,
    digest: Any,
    claim: Any = None,
    preconditions: Any = None,
    actor: Actor | None = None,
    is_fenced: bool = False,
) -> Approval:
    """Consume as `consume` does, with the request named by (session, attempt, request id).

    With `is_fenced` the caller's transaction has checked that the attempt is open, and keeps it open until COMMIT.
    """
    facts = _check_words(digest, claim, preconditions)
    asked = _asked(session_id, attempt, request_id)
    digest = canonical_action.as_hex(digest)
    with unit_of_work.transaction():
        approval = _take(asked, digest, claim, facts, actor)
        if approval is None:
            approval = _first(asked)
            _refuse_other(approval, digest, claim, facts)
        if not is_fenced:
            refuse_over(approval)
        return approval


def _take(
    asked: ApprovalQuerySet, digest: str, claim: str | None, facts: Facts, actor: Actor | None
) -> Approval | None:
    """Run the one UPDATE that takes the execution of this request. Return None when it changes no row."""
    at = database_now()
    free = asked.filter(consumed_at__isnull=True, digest=digest, status=Status.APPROVED, decision_kind__in=sorted(RUNS))
    free = free.filter(is_plan=False, stale_at__isnull=True, facts_digest=facts_module.digest_of(facts))
    taking = {"consumed_at": at, "consume_claim": claim, "delivered_at": Coalesce("delivered_at", at)}
    for taken in returning.update(free, **taking, policy_version=PolicyVersion()):
        verdicts.refuse_denied(taken)
        audit_events.record_change(taken, "consumed", actor or audit_events.child(taken), reason="executed")
        return taken
    return None


def _refuse_other(approval: Approval, digest: str, claim: str | None, facts: Facts) -> None:
    """Raise the reason why the execution could not be taken, unless this claim has taken it before."""
    if digest != approval.digest:
        raise problems.conflict("This is not the action that was decided.", "digest-mismatch")
    if approval.status != Status.APPROVED or approval.decision_kind not in RUNS:
        raise problems.conflict(
            schemas.current_sentence(approval), "not-approved", approval=schemas.current_decision(approval)
        )
    if approval.is_plan:
        raise problems.conflict("A plan is not run: ask for each of its calls.", "not-approved")
    if approval.consumed_at is None:
        raise facts_module.stale(approval, facts)
    if claim is None or claim != approval.consume_claim:
        raise problems.conflict("This approval has been consumed already.", "consumed")


def refuse_over(approval: Approval) -> None:
    """Raise not-running when the attempt that asked is over."""
    if approval.session is not None and not attempt_clock.is_open(approval.session, approval.attempt or 0):
        raise attempt_clock.over(approval.session)


def _deliver(asked: ApprovalQuerySet, actor: Actor | None, reason: str) -> Approval | None:
    """Record the first delivery of an answer. Return None when there is no answer, or it was delivered before."""
    fresh = asked.filter(delivered_at__isnull=True).exclude(status=Status.PENDING)
    for delivered in returning.update(fresh, delivered_at=database_now()):
        audit_events.record_change(delivered, "delivered", actor or audit_events.child(delivered), reason=reason)
        return delivered
    return None


def _asked(session_id: UUID, attempt: int, request_id: str) -> ApprovalQuerySet:
    return Approval.objects.of(session_id, attempt).filter(request_id=request_id)


def _first(asked: ApprovalQuerySet) -> Approval:
    approval = asked.first()
    if approval is None:
        raise problems.not_found("This attempt has no approval request with this id.")
    return approval


def _check_words(digest: Any, claim: Any, preconditions: Any) -> Facts:
    words = {"digest": digest, "claim": claim, "preconditions": preconditions}
    if errors := list(request_body.errors(words, ApprovalConsumption)):
        raise problems.invalid(errors)
    return list(preconditions or [])
