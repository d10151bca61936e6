"""The part of an approval's page about its rules: the demands on the answer, the votes, and the silent answers."""

from __future__ import annotations

from typing import Any

from accounts.actors import Actor
from accounts.models import User
from approvals import permissions
from approvals.models import Approval
from approvals.rules import rights
from core.web import problems


def context(approval: Approval, user: User) -> dict[str, Any]:
    """Return the demands of the rules, and whether this reader may answer: at once, or by breaking the glass."""
    shadows = list(approval.shadows.order_by("name"))
    may_decide, breaks_glass, why_not = permissions.may_decide(user, approval.project_id), False, ""
    if may_decide:
        try:
            rights.check_answer(approval, Actor.of_user(user))
        except problems.Problem as refusal:
            breaks_glass = refusal.type == "self-approval" and user.has_perm(rights.BREAK_GLASS)
            may_decide, why_not = breaks_glass, refusal.detail
    return {
        "has_demands": bool(approval.rule or shadows or approval.break_glass),
        "votes": list(approval.votes.order_by("id")) if approval.quorum > 1 else [],
        "named": rights.described(approval),
        "undecided": (approval.terms or {}).get("undecided", []),
        "shadows": shadows,
        "may_decide": may_decide,
        "breaks_glass": breaks_glass,
        "why_not": why_not,
        "fewest_words": rights.FEWEST_WORDS,
    }
