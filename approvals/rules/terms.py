"""The demands that rules copy into a request when it is asked. Later changes of the rules do not change them.

Several rules may ask: every demand then counts. The quorum is the largest, four eyes hold if one rule wants them, the
deadline is the earliest, and a person must be among the approvers of each rule that names some. Reminders and
escalations are those of all of them, in the order of time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from approvals.askers import SessionFacts
from approvals.models import Approval
from approvals.rules.compiled import CompiledRule
from approvals.rules.judging import Judgement
from approvals.states import RUNS, Decision, OnExpiry

#: If the last step would come after a shorter deadline, all are moved so that it comes at this part of the time.
LAST_PART = 0.75
#: The most steps of one request, over all rules.
MOST_STEPS = 30


def columns(approval: Approval, judgement: Judgement, facts: SessionFacts) -> dict[str, Any]:
    """Return the columns of the request that rules change. Empty when no rule says anything about it."""
    found: dict[str, Any] = {}
    if judgement.risk != approval.risk or judgement.reversibility != approval.reversibility:
        found |= {"risk": judgement.risk, "reversibility": judgement.reversibility}
    leader = judgement.leader
    if leader is None:
        return found
    found |= {"rule": leader.name, "rule_version": leader.version}
    rules = judgement.demanding
    terms: dict[str, Any] = {"rules": [{"name": rule.name, "version": rule.version} for rule in rules]}
    if judgement.undecided:
        terms["undecided"] = [{"name": rule.name, "reason": reason} for rule, reason in judgement.undecided]
    if rules:
        found |= _answer_terms(approval, rules, facts, terms)
        found |= _time_terms(approval, rules, terms)
    return found | {"terms": terms}


def _answer_terms(
    approval: Approval, rules: list[CompiledRule], facts: SessionFacts, terms: dict[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    named = [rule.approvers for rule in rules if rule.approvers.users or rule.approvers.groups]
    if named:
        terms["approvers"] = [{"users": each.users, "groups": each.groups} for each in named]
    if any(rule.four_eyes for rule in rules):
        # A key may ask for the session of another person. Then both have asked.
        owners = {facts.owner, approval.requested_by.get("user_id")}
        terms["owners"] = sorted(owner for owner in owners if owner is not None)
        found["four_eyes"] = True
    quorum = max(rule.approvers.quorum for rule in rules)
    # A question has as many answers as people. The first counts.
    if quorum > 1 and RUNS & set(approval.allowed_decisions):
        found["quorum"] = quorum
        # An edit is another action: the others would have approved something else.
        found["allowed_decisions"] = [kind for kind in approval.allowed_decisions if kind != Decision.EDIT]
    return found


def _time_terms(approval: Approval, rules: list[CompiledRule], terms: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ends = [rule.deadline_secs for rule in rules if rule.deadline_secs and rule.on_expiry == OnExpiry.EXPIRE]
    until = approval.expires_at
    if ends:
        by_rule = approval.requested_at + timedelta(seconds=min(ends))
        until = min(by_rule, until) if until is not None else by_rule
        if until != approval.expires_at:
            found["expires_at"] = until
    steps = steps_of(rules)
    if steps:
        lasts = None if until is None else (until - approval.requested_at).total_seconds()
        terms["steps"] = steps = fitted(steps, lasts)
        found["next_step_at"] = approval.requested_at + timedelta(seconds=steps[0]["after_secs"])
    return found


def steps_of(rules: list[CompiledRule]) -> list[dict[str, Any]]:
    """Return the reminders and escalations of these rules, in the order of time."""
    steps: list[dict[str, Any]] = []
    for rule in rules:
        steps += ({"kind": "remind", "after_secs": secs, "rule": rule.name} for secs in rule.remind_after_secs)
        steps += (
            {"kind": "escalate", "after_secs": each.after_secs, "rule": rule.name, "users": each.users,
             "groups": each.groups}
            for each in rule.escalate
        )  # fmt: skip
        if rule.deadline_secs and rule.on_expiry == OnExpiry.PENDING:
            steps.append({"kind": "deadline", "after_secs": rule.deadline_secs, "rule": rule.name})
    return sorted(steps, key=lambda step: step["after_secs"])[:MOST_STEPS]


def fitted(steps: list[dict[str, Any]], lasts: float | None) -> list[dict[str, Any]]:
    """Move the steps before the end of a request that lasts for so many seconds: an asker may want a shorter time."""
    if lasts is None or steps[-1]["after_secs"] < lasts:
        return steps
    part = LAST_PART * lasts / steps[-1]["after_secs"]
    return [{**step, "after_secs": step["after_secs"] * part} for step in steps]
