"""Judge one request by the rules of its project.

Of the rules that match, the most restrictive wins: deny, then ask or review, then allow. A rule with a condition
that cannot be evaluated means ask. A rule in shadow answers nothing: its answer is only reported.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from approvals.askers import SessionFacts
from approvals.display import copies
from approvals.models import Approval
from approvals.rules import conditions, globs
from approvals.rules.compiled import CompiledRule, RuleSet
from approvals.rules.conditions import Undecided
from approvals.states import RuleOutcome, raised_reversibility, raised_risk_to

#: Seconds for all conditions of one request. Those beyond it are undecided.
MOST_SECS = 0.1


@dataclass(slots=True)
class Judgement:
    """The rules that match a request, and their common outcome."""

    matched: list[CompiledRule] = field(default_factory=list)
    #: Matched but for a condition that could not be evaluated: with the reason.
    undecided: list[tuple[CompiledRule, str]] = field(default_factory=list)
    shadows: list[tuple[CompiledRule, RuleOutcome]] = field(default_factory=list)
    risk: str = ""
    reversibility: str = ""

    @property
    def outcome(self) -> RuleOutcome | None:
        """The most restrictive outcome, or None without a rule: then people are asked as without rules."""
        found = {rule.outcome for rule in self.matched} | ({RuleOutcome.ASK} if self.undecided else set())
        return next((outcome for outcome in RuleOutcome if outcome in found), None)

    @property
    def leader(self) -> CompiledRule | None:
        """The first rule, by name, with the outcome. It is named in the request and in the audit."""
        rules = [rule for rule in self.matched if rule.outcome == self.outcome]
        rules += [rule for rule, _ in self.undecided] if self.outcome == RuleOutcome.ASK else []
        return min(rules, key=lambda rule: rule.name, default=None)

    @property
    def may_be_denied(self) -> bool:
        """True if a rule would deny, but for a condition that could not be evaluated."""
        return any(rule.outcome == RuleOutcome.DENY for rule, _ in self.undecided)

    @property
    def leaves_it_to_reviewers(self) -> bool:
        """True if each rule that asks says that its reviewer may allow. One that asks people wants people."""
        asking = [rule.review for rule in self.demanding]
        return not self.undecided and all(review is not None and review.may_allow for review in asking)

    @property
    def demanding(self) -> list[CompiledRule]:
        """The rules that ask, by name. Their demands on the answer count."""
        asking = [rule for rule in self.matched if rule.outcome in (RuleOutcome.ASK, RuleOutcome.REVIEW)]
        asking += [rule for rule, _ in self.undecided if rule.outcome in (RuleOutcome.ASK, RuleOutcome.REVIEW)]
        return sorted(asking, key=lambda rule: rule.name)


@dataclass(slots=True)
class Case:
    """A request as rules see it. Its parts are computed when the first rule needs them."""

    approval: Approval
    facts: SessionFacts
    risk: str
    reversibility: str
    spent_secs: float = 0.0
    _roles: tuple[str, ...] | None = None
    _contexts: dict[tuple[bool, frozenset[str]], Any] = field(default_factory=dict)

    def role(self, proven: bool) -> str:
        return self.facts.role if self.facts.has_role_reach or not proven else ""

    def roles(self, proven: bool) -> tuple[str, ...]:
        """Return the roles from the root of the tree to the session. Those above it are proven ones."""
        if self._roles is None:
            self._roles = self.facts.roles_above()
        own = self.role(proven)
        return (*self._roles, own) if own else self._roles

    def raised(self, risk: str, reversibility: str) -> Case:
        """Return the same case with another risk: conditions may read that too."""
        return dataclasses.replace(self, risk=risk, reversibility=reversibility, _contexts={})

    def of(self, approval: Approval) -> Case:
        """Return the case of another copy of the same request."""
        return self if approval is self.approval else dataclasses.replace(self, approval=approval, _contexts={})

    def context(self, proven: bool, reads: frozenset[str]) -> Any:
        """Return the variables of conditions that read these costly members of the session."""
        key = proven, reads
        if key not in self._contexts:
            self._contexts[key] = self._context(proven, reads)
        return self._contexts[key]

    def _context(self, proven: bool, reads: frozenset[str]) -> Any:
        row = self.approval
        action = json.loads(row.action)
        path = [str(each) for each in row.path]
        session = {
            "id": path[-1] if path else "",
            "root": path[0] if path else "",
            "parent": path[-2] if len(path) > 1 else "",
            "depth": max(0, len(path) - 1),
            "path": path,
            "role": self.role(proven),
            "roles": list(self.roles(proven)) if "roles" in reads else [],
            "metadata": dict(self.facts.metadata()) if "metadata" in reads else {},
        }
        request = {
            "tool_name": row.tool_name,
            "tool_call_id": row.tool_call_id or "",
            "tool_schema_version": action["tool_schema_version"] or "",
            "permission": row.permission,
            "resource": row.resource,
            "question": row.question or "",
            "risk": self.risk,
            "reversibility": self.reversibility,
            "via": row.via,
            "preconditions": [fact["name"] for fact in action.get("preconditions", ())],
        }
        # A comma stands between two values, so this is never less than their number.
        return conditions.context(action["arguments"] or {}, session, request, row.action.count(",") + 1)


def judge(approval: Approval, facts: SessionFacts, rules: RuleSet) -> Judgement:
    """Judge a request. Rules that raise its risk come first, so that other rules see the raised one."""
    found = Judgement(risk=str(approval.risk), reversibility=str(approval.reversibility))
    by_name = sorted(rules.found(approval.tool_name, approval.permission, facts.role), key=lambda rule: rule.name)
    candidates, silent = [rule for rule in by_name if not rule.shadow], [rule for rule in by_name if rule.shadow]
    case = Case(approval, facts, found.risk, found.reversibility)
    raising = [rule for rule in candidates if rule.raises]
    _match(raising, case, found)
    for rule in [*found.matched, *(rule for rule, _ in found.undecided)]:
        found.risk = raised_risk_to(found.risk, rule.raise_risk)
        found.reversibility = raised_reversibility(found.reversibility, rule.raise_reversibility)
    if raising:
        case = case.raised(found.risk, found.reversibility)
    _match([rule for rule in candidates if not rule.raises], case, found)
    if silent:
        # Nobody notices a silent rule. So it must not answer questions about values that its author may not see.
        _match(silent, case.of(copies.without_secrets(approval)), found)
    return found


def denial(approval: Approval, facts: SessionFacts, rules: RuleSet) -> CompiledRule | None:
    """Return the first rule that denies this request as it is now. One that cannot be evaluated does not."""
    found = Judgement()
    candidates = rules.found(approval.tool_name, approval.permission, facts.role)
    case = Case(approval, facts, str(approval.risk), str(approval.reversibility))
    _match((rule for rule in candidates if rule.outcome == RuleOutcome.DENY), case, found)
    return min(found.matched, key=lambda rule: rule.name, default=None)


def _match(rules: Iterable[CompiledRule], case: Case, found: Judgement) -> None:
    for rule in rules:
        if not fits(rule, case):
            continue
        reason = ""
        try:
            if rule.condition is not None and not _holds(rule, case):
                continue
        except Undecided as error:
            reason = str(error)
        if rule.shadow:
            found.shadows.append((rule, RuleOutcome.ASK if reason else rule.outcome))
        elif reason:
            found.undecided.append((rule, reason))
        else:
            found.matched.append(rule)


def fits(rule: CompiledRule, case: Case) -> bool:
    """Return True if everything but the condition matches."""
    match, row = rule.match, case.approval
    if match.risk and case.risk not in match.risk:
        return False
    if match.reversibility and case.reversibility not in match.reversibility:
        return False
    if rule.tools and not globs.any_matches(rule.tools, row.tool_name):
        return False
    if rule.permissions and not globs.any_matches(rule.permissions, row.permission):
        return False
    if match.depth is not None and (row.session is None or not match.depth.includes(len(row.path) - 1)):
        return False
    proven = rule.outcome == RuleOutcome.ALLOW
    if match.roles and case.role(proven) not in match.roles:
        return False
    if rule.resources and not globs.any_matches(rule.resources, row.resource):
        return False
    return not match.tree_roles or not set(match.tree_roles).isdisjoint(case.roles(proven))


def _holds(rule: CompiledRule, case: Case) -> bool:
    assert rule.condition is not None  # noqa: S101 - for the types: the caller has looked
    if case.spent_secs > MOST_SECS:
        raise Undecided("the conditions before it took too long")
    began = time.perf_counter()
    try:
        return rule.condition.holds(case.context(rule.outcome == RuleOutcome.ALLOW, rule.condition.reads))
    finally:
        case.spent_secs += time.perf_counter() - began
