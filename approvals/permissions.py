"""Check the right to answer: a person with the permission, in a project that they see. Never a child's token."""

from __future__ import annotations

from typing import Any

from accounts.actors import Actor
from accounts.models import User
from accounts.projects import visible_to
from approvals.states import Via
from core.web import problems

PERMISSION = "approvals.decide"
SCOPES = frozenset({"approvals:decide", "admin"})


def check(actor: Actor, project_id: Any, via: str) -> None:
    """Raise not-an-approver unless the actor is a person with the right to answer here, or the system for a rule."""
    if via == Via.RULE and actor.kind == "system":
        return
    if actor.kind == "key" and not SCOPES & set(actor.scopes):
        raise problems.forbidden("This key lacks the scope approvals:decide.", "not-an-approver")
    if actor.kind not in ("user", "key") or actor.user is None:
        raise problems.forbidden("Only a person, or a person's API key, answers approvals.", "not-an-approver")
    if not may_decide(actor.user, project_id):
        raise problems.forbidden(f"{actor.user} lacks the permission {PERMISSION} here.", "not-an-approver")


def may_decide(user: User, project_id: Any) -> bool:
    """Return True if this member of the staff may answer in this project."""
    return bool(user.has_perm(PERMISSION)) and visible_to(user).filter(pk=project_id).exists()
