"""End a review: record the verdict, and let it answer the request where it may.

People may answer meanwhile. Of two answers the first counts: both are the guarded UPDATE of `approvals.decisions`.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import decisions, verdicts
from approvals.display import copies
from approvals.life import steps
from approvals.models import Approval, Policy, Review, Step
from approvals.review.replies import LATE, Reply
from approvals.states import Decision, ReviewState, StepKind
from approvals.verdicts import Verdict
from core.db import clock
from core.db.clock import database_now
from core.web import problems
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work

log = logging.getLogger(__name__)
WORK = Work("reviews_sweep", "reviews past their deadline")
#: The steps of people after which no reviewer approves, also when the question has its answer.
IN_HAND = (StepKind.DELEGATED, StepKind.ESCALATED, StepKind.ASKED_BACK)


def end(review_id: UUID, claim: UUID | None, reply: Reply) -> bool:
    """End a review that this claim holds, or with None an overdue one. False: another call has ended it, or taken over.

    A verdict after the deadline counts for nothing: people were promised the request by then.
    """
    with unit_of_work.transaction():
        reviews = Review.objects.filter(id=review_id)
        found = reviews.values_list("approval_id", "name").first()
        if found is None:
            return False
        steps.lock(found[0])
        approval = Approval.objects.get(id=found[0])
        if claim is None:
            reviews, reply = reviews.filter(deadline_at__lte=database_now()), Reply.failed(LATE)
        else:
            reviews = reviews.filter(claim=claim)
            if reviews.filter(deadline_at__lte=database_now()).exists():
                reply = Reply.failed(LATE)
        if not reviews.delete()[0]:
            return False
        _record(approval, found[1], reply)
        return True


def end_overdue(limit: int = 500) -> int:
    """Sweeper: end the reviews without a verdict at their deadline. Return their number."""
    due = Review.objects.filter(deadline_at__lte=database_now()).order_by("deadline_at").values_list("id", flat=True)
    return sweep_batch.each(WORK, lambda most: due[:most], lambda id: end(id, None, Reply.failed(LATE)), limit=limit)


def _record(approval: Approval, name: str, reply: Reply) -> None:
    reviews: list[dict[str, Any]] = [dict(each) for each in approval.reviews or ()]
    mine = next(each for each in reviews if each["reviewer"] == name)
    mine |= {"state": reply.state.value, "note": reply.note or None, "at": clock.moment(clock.read_database_clock())}
    answer, why_not = _answer(approval, reviews, mine)
    mine["has_answered"] = answer is not None
    # For the page of the request: our own words beside those of the reviewer.
    mine["why"] = reply.why or why_not
    actor = Actor.system(f"the reviewer {name}")
    detail = {"reviewer": name, "verdict": reply.state.value}
    if reply.state == ReviewState.DROPPED:
        Approval.objects.filter(id=approval.id).update(reviews=reviews)
        return
    note = reply.note or None
    records: dict[str, Any] = {"note": note, "detail": detail, "audited": {"note": note}}
    reviewed = steps.take(approval, StepKind.REVIEWED, actor, {"reviews": reviews}, reason=reply.state.value, **records)
    if reviewed is None:
        # An answer, a withdrawal or the deadline came first. The verdict is kept, and not used.
        mine |= {"has_answered": False, "why": reply.why or "it came too late"}
        Approval.objects.filter(id=approval.id).update(reviews=reviews)
        steps.record(approval, StepKind.REVIEWED, actor, reason="too_late", **records)
    elif answer is not None:
        decisions.answer_by_rule(reviewed, answer)


def _answer(approval: Approval, reviews: list[dict[str, Any]], mine: dict[str, Any]) -> tuple[Verdict | None, str]:
    """Return the answer that a verdict gives. None: it is only shown, and for an ALLOW the words say why."""
    by = f"the reviewer {mine['reviewer']}"
    if mine["state"] == ReviewState.DENY:
        note = f"The reviewer {mine['reviewer']} denied it" + (f": {mine['note']}" if mine["note"] else ".")
        return Verdict(mine["rule"], Decision.DENY, mine["message"] or note, by, mine["rule_version"]), ""
    if mine["state"] != ReviewState.ALLOW:
        return None, ""
    if why_not := _why_not(approval, reviews):
        return None, why_not
    return Verdict(mine["rule"], Decision.APPROVE, by=by, rule_version=mine["rule_version"]), ""


def _why_not(approval: Approval, reviews: list[dict[str, Any]]) -> str:
    """Return why the reviewers alone may not approve: some did not allow, a part was hidden, or it wants people.

    An empty text means that they may.
    """
    if not all(each["may_allow"] for each in reviews):
        return "a rule wants people"
    if not all(each["state"] == ReviewState.ALLOW for each in reviews):
        return "another reviewer has not said ALLOW"
    if Decision.APPROVE not in approval.allowed_decisions:
        return "it is a question, or takes no plain approval"
    if approval.is_plan:
        return "it is a plan"
    if approval.repeat_warning:
        return "it may have run already"
    if approval.assigned_to or Step.objects.filter(approval=approval, kind__in=IN_HAND).exists():
        return "people have taken it in hand"
    if verdicts.needs_people(approval):
        return "a rule says who must answer it"
    if copies.has_secrets(approval):
        return "a part of it was hidden from the reviewer"
    return "" if _are_rules_as_asked(approval) else "the rules changed meanwhile"


def _are_rules_as_asked(approval: Approval) -> bool:
    """Return True if no rule changed while the reviewer looked, and none denies it: a new one may want people."""
    version = Policy.objects.filter(project_id=approval.project_id).values_list("version", flat=True).first()
    if version != approval.policy_version:
        return False
    try:
        verdicts.refuse_denied(approval)
    except problems.Problem:
        return False
    return True
