"""The shapes of rules and of their previews."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from approvals.models import Rule
from approvals.rules.bodies import RuleApprovers, RuleBody, RuleEscalation, RuleMatch, RuleReview
from approvals.states import OnExpiry, Reversibility, Risk, RuleOutcome
from core.db import clock
from core.web.fields import Id, Moment, one_of, says

#: The columns that a body fills as they are. `message` is the other one.
FIELDS = tuple(name for name in RuleBody.__struct_fields__ if name not in ("message", "version"))


class RulePerson(Struct, frozen=True):
    kind: str
    id: str
    name: str


class RuleShown(Struct, frozen=True, kw_only=True):
    id: Id
    name: str
    match: RuleMatch
    outcome: Annotated[str, one_of(RuleOutcome.values)]
    message: str | None
    raise_risk: Annotated[str, one_of(Risk.values)] | None
    raise_reversibility: Annotated[str, one_of(Reversibility.values)] | None
    approvers: RuleApprovers
    review: RuleReview | None
    four_eyes: bool
    deadline_secs: int | None
    on_expiry: Annotated[str, one_of(OnExpiry.values)]
    remind_after_secs: list[int]
    escalate: list[RuleEscalation]
    shadow: bool
    enabled: bool
    version: int
    changed_at: Moment
    changed_by: RulePerson


class RulePage(Struct, frozen=True):
    results: Annotated[list[RuleShown], says("By name.")]
    next: str | None


class RuleDisagreement(Struct, frozen=True):
    approval: Id
    tool_name: str
    requested_at: Moment
    would: Annotated[str, one_of(RuleOutcome.values)]
    was: Annotated[str, says("The decision that was taken: approved or denied.")]


class RulePreviewed(Struct, frozen=True, kw_only=True):
    scanned: Annotated[int, says("The requests that were looked at, the newest first.")]
    cut_off: Annotated[bool, says("There are older requests in this time that were not looked at.")]
    matched: int
    would_allow: int
    would_deny: int
    would_ask: int
    undecided: Annotated[int, says("Those of `would_ask` whose condition could not be evaluated.")]
    disagreements: Annotated[list[RuleDisagreement], says("Requests that people answered otherwise, at most 50.")]


def rule(row: Rule) -> RuleShown:
    """Return the REST body of a rule."""
    by = row.changed_by
    return RuleShown(
        **body(row),
        id=str(row.id),
        version=row.version,
        changed_at=clock.moment(row.changed_at),
        changed_by=RulePerson(by["kind"], by["id"], by["name"]),
    )


def body(row: Rule) -> dict[str, Any]:
    """Return the values of a rule, as its body names them."""
    found = {name: getattr(row, name) for name in FIELDS}
    # Stored rules lack the members that came later.
    found["match"] = msgspec.convert(row.match, RuleMatch)
    found["approvers"] = msgspec.convert(row.approvers, RuleApprovers)
    found["escalate"] = msgspec.convert(row.escalate, list[RuleEscalation])
    found["review"] = msgspec.convert(row.review, RuleReview | None)
    return found | {"message": row.message or None}


def plain(row: Rule) -> dict[str, Any]:
    """Return a rule as plain values, for the audit and for comparisons. Nothing of the request is in it."""
    found: dict[str, Any] = msgspec.to_builtins(body(row))
    return found
