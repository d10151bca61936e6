"""Hand a new request to the reviewers of its rules, in the transaction that stores it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from approvals.models import Approval, Review, Reviewer
from approvals.rules.bodies import RuleReview
from approvals.rules.compiled import CompiledRule
from approvals.rules.judging import Judgement
from approvals.states import Decision, ReviewState, RuleOutcome
from core.db import clock, returning
from ledger import unit_of_work

#: The wake-up of the workers.
TOPIC = "reviews"
#: The most reviewers of one request. People look at what more would say.
MOST = 5


def open(approval: Approval, judgement: Judgement) -> Approval:
    """Let the reviewers of the rules that match look at a request. It stays pending, and people may answer it at once.

    A question has no reviewer: nothing runs, and nobody but a person can answer it.
    """
    wanted = _wanted(judgement)
    if not wanted or Decision.DENY not in approval.allowed_decisions:
        return approval
    known = Reviewer.objects.filter(project_id=approval.project_id, name__in=wanted).order_by("name")[:MOST]
    rows, shown = list[Review](), list[dict[str, Any]]()
    for reviewer in known:
        rule, review = wanted[reviewer.name]
        until = approval.requested_at + timedelta(seconds=review.deadline_secs)
        rows.append(Review(approval=approval, reviewer=reviewer, name=reviewer.name, deadline_at=until))
        shown.append({
            "reviewer": reviewer.name,
            "rule": rule.name,
            "rule_version": rule.version,
            "message": rule.message,
            "may_allow": judgement.leaves_it_to_reviewers and len(known) == len(wanted),
            "deadline_at": clock.moment(until),
            "state": ReviewState.WAITING.value,
            "note": None,
            "at": None,
            "has_answered": False,
        })  # fmt: skip
    if not rows:
        return approval
    Review.objects.bulk_create(rows)
    unit_of_work.wake(TOPIC)
    [approval] = returning.update(Approval.objects.filter(id=approval.id), reviews=shown)
    return approval


def _wanted(judgement: Judgement) -> dict[str, tuple[CompiledRule, RuleReview]]:
    """Return the reviewers by name, each with its first rule and the earliest deadline."""
    found: dict[str, tuple[CompiledRule, RuleReview]] = {}
    for rule in sorted(judgement.matched, key=lambda rule: rule.name):
        if rule.outcome != RuleOutcome.REVIEW or rule.review is None:
            continue
        first, review = found.get(rule.review.reviewer, (rule, rule.review))
        found[rule.review.reviewer] = first, min(review, rule.review, key=lambda each: each.deadline_secs)
    return found
