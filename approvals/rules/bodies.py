"""The bodies of the calls on rules. The YAML file and the form of the admin fill the same Struct."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from approvals.bodies import MAX_EXPIRES_SECS, unstorable
from approvals.rules import conditions, globs
from approvals.states import OnExpiry, Reversibility, Risk, RuleOutcome
from core.display.text import visible
from core.web.fields import Body, name, one_of, says, text

MAX_ITEMS, MAX_ITEM, MAX_GLOB, MAX_NAME, MAX_MESSAGE = 50, 256, 1024, 64, 2000
MAX_STEPS, MAX_QUORUM, MAX_DEPTH = 10, 20, 1000
MAX_DAYS = 90
MAX_REVIEW_SECS = 120


def _plain(value: str) -> str | None:
    """Refuse characters that would not show: staff must see in a rule what it matches."""
    hidden = "holds a character that would not show" if visible(value, lines=True) != value else None
    return unstorable(value) or hidden


Word = Annotated[str, text(MAX_ITEM, 1, check=_plain)]
Seconds = Annotated[int, Meta(ge=1, le=MAX_EXPIRES_SECS)]


def _glob(value: str) -> str | None:
    return _plain(value) or globs.check(value)


def _rising(value: list[Any]) -> str | None:
    at = [each if isinstance(each, int) else each["after_secs"] if isinstance(each, dict) else each.after_secs
          for each in value]  # fmt: skip
    return None if at == sorted(set(at)) else "must rise from item to item"


Tool = Annotated[str, text(MAX_ITEM, 1, check=_glob)]
Resource = Annotated[str, text(MAX_GLOB, check=_glob)]
Condition = Annotated[
    str,
    text(conditions.MAX_CHARACTERS, check=lambda value: _plain(value) or (conditions.fault(value) if value else None)),
    says("CEL over `arguments`, `session` and `approval`. One that cannot be evaluated means ask."),
]
Words = Annotated[list[Word], Meta(max_length=MAX_ITEMS)]


class RuleDepth(Body, frozen=True, kw_only=True):
    """A root has depth 0."""

    min: Annotated[int, Meta(ge=0, le=MAX_DEPTH)] | None = None
    max: Annotated[int, Meta(ge=0, le=MAX_DEPTH)] | None = None

    def includes(self, depth: int) -> bool:
        """Return True if a session at this depth is meant."""
        return (self.min is None or self.min <= depth) and (self.max is None or depth <= self.max)


class RuleMatch(Body, frozen=True, kw_only=True):
    """Every member that is given must hold. An empty list holds for every request. `*` stands for any text."""

    roles: Annotated[Words, says("The role of the session that asks. A rule that allows needs a proven role.")] = []
    tree_roles: Annotated[Words, says("The role of that session, or of one above it in its tree.")] = []
    tools: Annotated[list[Tool], Meta(max_length=MAX_ITEMS)] = []
    permissions: Annotated[list[Tool], Meta(max_length=MAX_ITEMS)] = []
    resources: Annotated[list[Resource], Meta(max_length=MAX_ITEMS)] = []
    risk: Annotated[list[Annotated[str, one_of(Risk.values)]], Meta(max_length=MAX_ITEMS)] = []
    reversibility: Annotated[list[Annotated[str, one_of(Reversibility.values)]], Meta(max_length=MAX_ITEMS)] = []
    depth: Annotated[RuleDepth, says("The depth of the session in its tree.")] | None = None
    when: Condition | None = None


class RuleApprovers(Body, frozen=True, kw_only=True):
    """With names, only these people may answer. Without, everybody with the right to answer."""

    users: Annotated[list[Word], Meta(max_length=MAX_ITEMS)] = []
    groups: Annotated[list[Word], Meta(max_length=MAX_ITEMS)] = []
    quorum: Annotated[int, Meta(ge=1, le=MAX_QUORUM), says("So many people must approve. One denial is enough.")] = 1


class RuleEscalation(Body, frozen=True, kw_only=True):
    after_secs: Seconds
    users: Annotated[list[Word], Meta(max_length=MAX_ITEMS)] = []
    groups: Annotated[list[Word], Meta(max_length=MAX_ITEMS)] = []


class RuleReview(Body, frozen=True, kw_only=True):
    """A reviewer that looks at the request before people."""

    reviewer: Annotated[str, text(MAX_NAME, 1, check=_plain, says="The name of a reviewer of the project.")]
    deadline_secs: Annotated[
        int, Meta(ge=1, le=MAX_REVIEW_SECS), says("Seconds after the ask. Without a verdict by then, people answer.")
    ] = 30
    may_allow: Annotated[bool, says("Its ALLOW approves the request, where no other rule asks people.")] = False


class RuleBody(Body, frozen=True, kw_only=True):
    name: Annotated[str, name(MAX_NAME, says="Unique in the project.")]
    match: RuleMatch = RuleMatch()
    outcome: Annotated[str, one_of(RuleOutcome.values, says="Of the rules that match, the most restrictive wins.")]
    message: Annotated[str, text(MAX_MESSAGE, check=_plain, says="For the agent, with a denial.")] | None = None
    raise_risk: Annotated[str, one_of(Risk.values, says="Raises the risk to this, if it is lower.")] | None = None
    raise_reversibility: (
        Annotated[str, one_of(Reversibility.values, says="Raises the reversibility to this, if it is milder.")] | None
    ) = None
    approvers: RuleApprovers = RuleApprovers()
    review: Annotated[RuleReview | None, says("For the outcome `review`.")] = None
    four_eyes: Annotated[bool, says("The owner of the session or key that asks may not answer.")] = False
    deadline_secs: Seconds | None = None
    on_expiry: Annotated[
        str, one_of(OnExpiry.values, says="At the deadline: it expires, or it stays pending and is escalated.")
    ] = OnExpiry.EXPIRE.value
    remind_after_secs: Annotated[
        list[Seconds], Meta(max_length=MAX_STEPS, extra={"check": _rising}), says("Before the deadline, rising.")
    ] = []
    escalate: Annotated[
        list[RuleEscalation], Meta(max_length=MAX_STEPS, extra={"check": _rising}), says("Before the deadline, rising.")
    ] = []
    shadow: Annotated[bool, says("It answers nothing, and its answer is only recorded.")] = False
    enabled: bool = True
    version: Annotated[int, Meta(ge=1), says("With PUT: refuse the change if the rule has another version.")] | None = (
        None
    )


class RulePreview(Body, frozen=True, kw_only=True):
    rule: RuleBody
    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = 30
