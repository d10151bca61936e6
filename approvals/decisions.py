"""Decide, withdraw and expire approvals. One guarded UPDATE decides; a later caller gets the current state."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import attempt_clock, audit_events, decision_validation, permissions, schemas, votes
from approvals.decision_validation import Answer
from approvals.grants import remembering
from approvals.models import Approval
from approvals.plans import births
from approvals.rules import rights
from approvals.selectors import find, with_waiters
from approvals.states import LEADS_TO, CancelReason, Decision, Status, Via, sources
from approvals.verdicts import Verdict
from core.db import returning
from core.db.clock import database_now
from core.db.compiled import CompiledUpdates
from core.web import problems
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work

__all__ = ["Answer", "decide", "expire_due", "withdraw", "withdraw_request"]

SWEEPER = Actor.system("expiry")
SETTLED: CompiledUpdates[Approval] = CompiledUpdates()
EXPIRY = Work("approvals_expiry_sweep", "deadlines")


def decide(project_id: Any, approval_id: UUID, answer: Answer, actor: Actor, via: str) -> Approval:
    """Decide a pending approval. The same decision again by the same person returns the same row.

    A rule may demand several people. Then an approval is a vote, and the request stays pending until the last one.

    The checks run in this order, and the first refusal is the answer: 1. may the caller see it (not-found), 2. may the
    caller decide (not-an-approver, self-approval), 3. is it pending (already-decided), 4. its deadline (expired), 5.
    the digest that was shown (digest-mismatch), 6. the version (version-conflict), 7. the decision itself (invalid).
    """
    try:
        with unit_of_work.transaction():
            approval = find(project_id, approval_id, actor)
            permissions.check_decide(actor, project_id, via)
            broken = rights.check_answer(approval, actor, answer.break_glass)
            return _decide(approval, answer, actor, via, broken)
    except problems.Problem as refusal:
        if refusal.type == "expired":
            expire(approval_id)
        raise


def withdraw(project_id: Any, approval_id: UUID, actor: Actor, reason: str | None = None) -> Approval:
    """Cancel a request that nobody needs any more. Withdrawing twice is the same as withdrawing once.

    Raises not-found, forbidden for a caller that neither asked nor may answer, and already-decided or expired when the
    approval was settled in another way.
    """
    decision_validation.check_reason(reason)
    with unit_of_work.transaction():
        approval = find(project_id, approval_id, actor)
        permissions.check_act(approval, actor)
        changed = _settle(approval, Status.CANCELLED, cancel_reason=CancelReason.WITHDRAWN, cancel_detail=reason)
        approval = find(project_id, approval_id, actor)
        if changed:
            attempt_clock.wait_ends(approval)
            audit_events.record_change(approval, "cancelled", actor, reason=CancelReason.WITHDRAWN.value)
        elif approval.cancel_reason != CancelReason.WITHDRAWN:
            raise settled_already(approval)
        return approval


def withdraw_request(
    session_id: UUID, attempt: int, request_id: str, actor: Actor, reason: str | None = None
) -> Approval:
    """Withdraw as `withdraw` does, with the request named by (session, attempt, request id)."""
    approval = Approval.objects.of(session_id, attempt).filter(request_id=request_id).first()
    if approval is None:
        raise problems.not_found("This attempt has no approval request with this id.")
    return withdraw(approval.project_id, approval.id, actor, reason)


def expire_due(limit: int = 500) -> int:
    """Sweeper: expire overdue approvals, each in its own transaction. Return their number."""
    due = Approval.objects.overdue(database_now()).order_by("expires_at").values_list("id", flat=True)
    return sweep_batch.each(EXPIRY, lambda most: due[:most], lambda approval_id: expire(approval_id), limit=limit)


def expire(approval_id: UUID) -> bool:
    """Expire one approval if it is pending and overdue by the database's clock."""
    with unit_of_work.transaction():
        due = Approval.objects.overdue(database_now()).filter(id=approval_id)
        for approval in returning.update(due, status=Status.EXPIRED, settled_at=database_now()):
            attempt_clock.wait_ends(approval)
            audit_events.record_change(approval, "expired", SWEEPER, reason="deadline")
            return True
        return False


def answer_by_rule(approval: Approval, verdict: Verdict) -> Approval:
    """Settle a new request by the verdict of a rule, in the transaction that stored it."""
    columns = {
        "decision_kind": verdict.decision,
        "message": verdict.message,
        "rule": verdict.rule,
        "rule_version": verdict.rule_version,
    }
    actor = Actor.system(verdict.by or f"the rule {verdict.rule}")
    decided = _take(approval, LEADS_TO[verdict.decision], actor, Via.RULE, **columns)
    if decided is None:  # Its deadline has passed in this very moment.
        raise settled_already(approval)
    return decided


def _decide(approval: Approval, answer: Answer, actor: Actor, via: str, break_glass: str | None = None) -> Approval:
    while approval.status == Status.PENDING and not approval.is_overdue:
        change = decision_validation.validate(approval, answer)
        if change.status == Status.APPROVED and approval.quorum > 1:
            said = change.columns["message"], change.columns["note"]
            number = votes.add(approval, actor, via, *said, break_glass)
            if number is None or number < approval.quorum:
                approval = with_waiters(Approval.objects.filter(id=approval.id)).get()
                if number is None:
                    continue
                return approval
        broken = {} if break_glass is None else {"break_glass": break_glass}
        decided = _take(approval, change.status, actor, via, **change.columns, **broken)
        if decided is not None:
            if change.remember is not None:
                remembering.new(decided, change.remember, actor)
            if decided.is_plan and decided.status == Status.APPROVED:
                births.new(decided, actor)
            # The child that asked is blocked no more. The held calls that were counted here still wait.
            decided.is_overdue, decided.held_calls, decided.is_blocked = False, approval.held_calls, 0
            return decided
        approval = with_waiters(Approval.objects.filter(id=approval.id)).get()
    if _repeats(approval, answer, actor):
        return with_waiters(Approval.objects.filter(id=approval.id)).get()
    raise settled_already(approval)


def _repeats(approval: Approval, answer: Answer, actor: Actor) -> bool:
    """Return True when the same person repeats the decision that was already taken."""
    by, kind = (approval.decided_by or {}).get("user_id"), approval.decision_kind
    if actor.user_id is None or by != actor.user_id or kind != answer.decision:
        return False
    # A repeat promises no grant that the first answer did not make.
    if answer.remember is not None and approval.remembered is None:
        return False
    if kind == Decision.EDIT:
        asked = decision_validation.with_originals(answer.arguments, approval.proposed_arguments)
        ran, asked = (json.dumps(each, sort_keys=True) for each in (approval.arguments, asked))
        return bool(ran == asked)
    return kind != Decision.RESPOND or bool(approval.response == answer.response)


def _take(approval: Approval, to: Status, actor: Actor, via: str, **columns: Any) -> Approval | None:
    """Write a decision and its records. Return None when another change came first, or the deadline."""
    for decided in _settle(approval, to, **columns, decided_by=audit_events.person(actor), decided_via=via):
        attempt_clock.wait_ends(decided)
        audit_events.record_change(
            decided,
            "decided",
            actor,
            reason=str(decided.decision_kind),
            told={"rule": decided.rule} if decided.rule else None,
            decision=decided.decision_kind,
            via=via,
            rule=decided.rule,
            rule_version=decided.rule_version,
            proposed_digest=decided.proposed_digest,
            break_glass=decided.break_glass,
            votes=votes.names(decided) if decided.quorum > 1 else None,
        )
        return decided
    return None


def _settle(approval: Approval, to: Status, **columns: Any) -> list[Approval]:
    """Run the one UPDATE that ends a pending approval (I4). Return the changed row, or nothing.

    An answer applies only to the version and digest that were shown, and before the deadline. A withdrawal does not
    depend on what was shown: a question or a new deadline in the same moment must not stop it.
    """
    values: dict[str, Any] = {"id": approval.id}
    if to is not Status.CANCELLED:
        values |= {"version": approval.version, "digest": approval.digest}

    def build(values: Any) -> Any:
        rows = Approval.objects.filter(**values, status__in=sources(to))
        return rows if to is Status.CANCELLED else rows.in_time(database_now()), {"settled_at": database_now()}

    return SETTLED.run(to, values, build, {"status": to, **columns})


def settled_already(approval: Approval) -> problems.Problem:
    """Build the refusal of a change that came after the end of a request: already-decided, or expired."""
    if approval.status in (Status.EXPIRED, Status.PENDING):
        return problems.gone("Nobody answered before the deadline.", approval=schemas.current_decision(approval))
    return problems.conflict(
        schemas.current_sentence(approval), "already-decided", approval=schemas.current_decision(approval)
    )
