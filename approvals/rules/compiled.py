"""The rules of a project, compiled once for each version and found by tool, permission or role before any condition."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from approvals.models import Rule
from approvals.rules import globs
from approvals.rules.bodies import RuleApprovers, RuleEscalation, RuleMatch, RuleReview
from approvals.rules.conditions import Condition, Unreadable
from approvals.rules.globs import Glob
from approvals.states import OnExpiry, RuleOutcome

log = logging.getLogger(__name__)
#: Projects whose rules one process keeps.
KEPT = 200


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """One rule, ready to match. `condition` is None without one."""

    id: UUID
    name: str
    version: int
    outcome: RuleOutcome
    message: str
    match: RuleMatch
    tools: tuple[Glob, ...]
    permissions: tuple[Glob, ...]
    resources: tuple[Glob, ...]
    condition: Condition | Unreadable | None
    raise_risk: str | None
    raise_reversibility: str | None
    approvers: RuleApprovers
    review: RuleReview | None
    four_eyes: bool
    deadline_secs: int | None
    on_expiry: OnExpiry
    remind_after_secs: tuple[int, ...]
    escalate: tuple[RuleEscalation, ...]
    shadow: bool

    @property
    def raises(self) -> bool:
        return self.raise_risk is not None or self.raise_reversibility is not None

    @property
    def reads_session(self) -> bool:
        """True if it needs more of the session than the request's own row holds."""
        match, condition = self.match, self.condition
        return bool(match.roles or match.tree_roles) or (condition is not None and condition.reads_session)


def compiled(rule: Rule) -> CompiledRule:
    """Compile a stored rule, or an unsaved one. Its values have been checked."""
    match = msgspec.convert(rule.match, RuleMatch)
    return CompiledRule(
        id=rule.id,
        name=rule.name,
        version=rule.version,
        outcome=RuleOutcome(rule.outcome),
        message=rule.message,
        match=match,
        tools=tuple(map(globs.compiled, match.tools)),
        permissions=tuple(map(globs.compiled, match.permissions)),
        resources=tuple(map(globs.compiled, match.resources)),
        condition=Condition(match.when) if match.when else None,
        raise_risk=rule.raise_risk,
        raise_reversibility=rule.raise_reversibility,
        approvers=msgspec.convert(rule.approvers, RuleApprovers),
        review=msgspec.convert(rule.review, RuleReview | None),
        four_eyes=rule.four_eyes,
        deadline_secs=rule.deadline_secs,
        on_expiry=OnExpiry(rule.on_expiry),
        remind_after_secs=tuple(rule.remind_after_secs),
        escalate=tuple(msgspec.convert(rule.escalate, list[RuleEscalation])),
        shadow=rule.shadow,
    )


def _readable(rule: Rule) -> CompiledRule:
    """Compile a stored rule. One that cannot be read any more asks people about every request, and stops nobody."""
    try:
        return compiled(rule)
    except Exception:
        log.exception("the rule %s (%s) cannot be read: people are asked", rule.id, rule.name)
        row = Rule(id=rule.id, name=rule.name, version=rule.version, outcome=RuleOutcome.ASK, shadow=rule.shadow)
        return dataclasses.replace(compiled(row), condition=Unreadable())


Buckets = dict[str, list[CompiledRule]]


@dataclass(slots=True)
class RuleSet:
    """An index of rules. Each rule is in one bucket: of its tools, else of its permissions, else of its roles."""

    by_tool: Buckets = field(default_factory=dict)
    by_permission: Buckets = field(default_factory=dict)
    by_role: Buckets = field(default_factory=dict)
    others: list[CompiledRule] = field(default_factory=list)
    #: True if a rule denies, and if one that denies reads the session.
    denies: bool = False
    denials_read_session: bool = False

    def add(self, rule: CompiledRule) -> None:
        match = rule.match
        if rule.outcome == RuleOutcome.DENY and not rule.shadow:
            self.denies = True
            self.denials_read_session |= rule.reads_session
        for buckets, words in ((self.by_tool, match.tools), (self.by_permission, match.permissions)):
            if words and all(map(globs.is_exact, words)):
                return _file(buckets, words, rule)
        if match.roles:
            return _file(self.by_role, match.roles, rule)
        self.others.append(rule)

    def found(self, tool: str, permission: str, role: str) -> Iterator[CompiledRule]:
        """Yield each rule that may match a request with these three."""
        yield from self.by_tool.get(tool, ())
        yield from self.by_permission.get(permission, ())
        yield from self.by_role.get(role, ())
        yield from self.others


def _file(buckets: Buckets, words: Iterable[str], rule: CompiledRule) -> None:
    for word in dict.fromkeys(words):
        buckets.setdefault(word, []).append(rule)


def indexed(rules: Iterable[CompiledRule]) -> RuleSet:
    """Index these rules."""
    found = RuleSet()
    for rule in rules:
        found.add(rule)
    return found


EMPTY = RuleSet()
_kept: OrderedDict[UUID, tuple[int, RuleSet]] = OrderedDict()
_lock = threading.Lock()


def of(project_id: UUID, version: int | None) -> RuleSet:
    """Return the rules of a project, at the version that the caller's own transaction has read before this call.

    The rows are read after the version, so they are never older. If they are newer, the next ask finds another version
    and reads them again. A version is never reused, so a change that was rolled back is never taken for another.
    """
    if version is None:
        return EMPTY
    with _lock:
        kept = _kept.get(project_id)
    if kept is not None and kept[0] == version:
        return kept[1]
    rules = indexed(map(_readable, Rule.objects.filter(project_id=project_id, enabled=True)))
    with _lock:
        _kept[project_id] = version, rules
        _kept.move_to_end(project_id)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return rules
