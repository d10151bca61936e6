"""The verdict on a new request, in the transaction that stores it, before a person sees it.

The order is fixed: disabled tools, rules that deny, grants and plans, rules that allow, reviewers, people. A grant
never beats a denial, not even one with a condition that could not be evaluated: the asker chooses the arguments, and
could make it so. Nor does it answer a request for which a rule demands four eyes, several people or named ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from approvals import askers, schemas
from approvals.askers import SessionFacts
from approvals.grants import matching
from approvals.models import Approval, ShadowAnswer
from approvals.plans import calls
from approvals.review import opening
from approvals.rules import compiled, judging, rights, terms
from approvals.rules.judging import Judgement
from approvals.states import Decision, RuleOutcome
from core.db import returning
from core.display.text import shortened
from core.web import problems


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a rule or a grant. The row and the audit name it; `message` is for the agent, `by` for staff."""

    rule: str
    decision: Decision
    message: str | None = None
    by: str | None = None
    rule_version: int | None = None


def verdict_on(approval: Approval, facts: SessionFacts) -> tuple[Approval, Verdict | None]:
    """Return a new request with the demands of its rules, and the verdict on it, or None: then people answer it."""
    if approval.tool_name in facts.disabled_tools:
        why = f"The tool {shortened(approval.tool_name)} is disabled for this session."
        return approval, Verdict("disabled_tools", Decision.DENY, why)
    rules = compiled.of(approval.project_id, approval.policy_version)
    judgement = judging.judge(approval, facts, rules)
    approval = _with_demands(approval, judgement, facts)
    if judgement.outcome == RuleOutcome.DENY:
        return approval, _verdict(judgement, Decision.DENY)
    # A plan announced this very call. A grant must not keep its step unused: others may come after it.
    for_people = needs_people(approval) or judgement.may_be_denied
    known = None if for_people else calls.use(approval, facts) or matching.use(approval, facts)
    if known is not None:
        by = f"{known.title} of {schemas.display_name(known.granted_by)}"
        return approval, Verdict(known.rule, Decision.APPROVE, by=by)
    # An action that may have run already is never repeated without a person who has read the warning. Nor is a plan
    # approved without one: its steps are not what the rule was written for.
    may_run = Decision.APPROVE in approval.allowed_decisions and not approval.repeat_warning and not approval.is_plan
    if judgement.outcome == RuleOutcome.ALLOW and may_run:
        return approval, _verdict(judgement, Decision.APPROVE)
    if judgement.outcome == RuleOutcome.REVIEW:
        approval = opening.open(approval, judgement)
    return approval, None


def refuse_denied(approval: Approval) -> None:
    """Raise policy-changed if a rule denies the approved action now. No other change of rules stops a consumption."""
    rules = compiled.of(approval.project_id, approval.policy_version)
    if not rules.denies:
        return
    facts = askers.facts_of(approval.session) if rules.denials_read_session else SessionFacts()
    rule = judging.denial(approval, facts, rules)
    if rule is not None:
        detail = f"It was approved, and the rule {rule.name} denies it now."
        raise problems.conflict(detail, "policy-changed", rule=rule.name, rule_version=rule.version)


def needs_people(approval: Approval) -> bool:
    """Return True if a rule demands four eyes, several people or named ones. No grant answers such a request."""
    return approval.four_eyes or approval.quorum > 1 or bool((approval.terms or {}).get("approvers"))


def _verdict(judgement: Judgement, decision: Decision) -> Verdict | None:
    rule = judgement.leader
    if rule is None:
        return None
    denied = f"The rule {rule.name} denies this."
    message = (rule.message or denied) if decision is Decision.DENY else None
    return Verdict(rule.name, decision, message, rule_version=rule.version)


def _with_demands(approval: Approval, judgement: Judgement, facts: SessionFacts) -> Approval:
    """Write the demands of the rules into the row, which nobody has seen yet, and the answers of those in shadow."""
    if columns := terms.columns(approval, judgement, facts):
        columns |= rights.assigned(columns.get("terms"))
        [approval] = returning.update(Approval.objects.filter(id=approval.id), **columns)
    if judgement.shadows:
        ShadowAnswer.objects.bulk_create(
            ShadowAnswer(approval=approval, rule=rule.id, name=rule.name, version=rule.version, outcome=outcome)
            for rule, outcome in judgement.shadows
        )
    return approval
