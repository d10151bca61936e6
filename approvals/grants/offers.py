"""Decide what may be remembered of a request: never more than the person sees, and least where the harm is greatest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from approvals import verdicts
from approvals.grants import bounds
from approvals.models import Approval
from approvals.states import Decision, GrantScope, Reversibility, Risk


@dataclass(frozen=True, slots=True)
class Choice:
    """A ready choice of the approval's page."""

    name: str
    title: str
    scope: GrantScope
    uses: int
    secs: int

    @property
    def remember(self) -> dict[str, Any]:
        """The choice as the body of a decision says it."""
        return {"scope": self.scope.value, "exact": True, "uses": self.uses, "expires_in_secs": self.secs}


_SESSION, _TREE, _ROLE = GrantScope.SESSION, GrantScope.TREE, GrantScope.ROLE
CHOICES = (
    Choice("session-once", "once more in this session, within an hour", _SESSION, 1, bounds.HOUR),
    Choice("session-hour", "in this session, for an hour", _SESSION, bounds.MOST_USES, bounds.HOUR),
    Choice("session-day", "in this session, for a day, 20 times", _SESSION, 20, 24 * bounds.HOUR),
    Choice("tree-hour", "in this session and its descendants, for an hour", _TREE, bounds.MOST_USES, bounds.HOUR),
    Choice("tree-uses", "in this session and its descendants, for a day, 10 times", _TREE, 10, 24 * bounds.HOUR),
    Choice("role-hour", "for every session of its role here, for an hour", _ROLE, bounds.MOST_USES, bounds.HOUR),
    Choice("role-uses", "for every session of its role here, for a day, 10 times", _ROLE, 10, 24 * bounds.HOUR),
)


def choices(approval: Approval, role: str) -> list[Choice]:
    """Return the ready choices for a request; none if nothing of it may be remembered."""
    return [each for each in CHOICES if refusal(approval, each.scope.value, False, role) is None]


def chosen(name: str) -> dict[str, Any] | str | None:
    """Return the `remember` of a ready choice; none without a name. Any other name is no valid `remember`."""
    return next((choice.remember for choice in CHOICES if choice.name == name), name or None)


def refusal(approval: Approval, scope: str, has_slots: bool, role: str) -> tuple[str, str] | None:
    """Return the member of `remember` that this request does not allow, and why, or None.

    - A plan, and a request for which a rule demands four eyes, several people or named ones.
    - A question has no action to remember, and a request without a session has nobody to remember it for.
    - A critical action: exactly that one, in its own session alone.
    - An irreversible action: exactly that one.
    """
    if Decision.APPROVE not in approval.allowed_decisions:
        return "remember", "this request is no action that a later one could repeat"
    if approval.is_plan:
        return "remember", "a plan has its own bounds"
    if verdicts.needs_people(approval):
        return "remember", "a rule demands people for each such request"
    if approval.session is None:
        return "remember", "the request belongs to no session"
    if approval.risk == Risk.CRITICAL and (has_slots or scope != GrantScope.SESSION):
        return "remember", "of a critical action only the exact one, for its own session, can be remembered"
    if approval.reversibility == Reversibility.IRREVERSIBLE and has_slots:
        return "remember.slots", "of an irreversible action only the exact one can be remembered"
    if scope == GrantScope.ROLE and not role:
        return "remember.scope", "the session that asked has no role"
    return None
