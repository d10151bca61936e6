"""Check the rights on a request: who may answer it, who may act on it, and who may see it.

A person with the permission answers, in a project that they see. A child's token never does. The requester acts on its
own request: the key that asked, another key of the same owner, or the session itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet

from accounts.actors import Actor
from accounts.models import User
from accounts.projects import visible_to
from approvals.models import Approval
from approvals.states import Via
from core.web import problems

PERMISSION = "approvals.decide"
SCOPES = frozenset({"approvals:decide", "admin"})
#: The right to see the hidden values of a request. The right to answer does not include it.
VIEW_SECRETS = "approvals.view_secrets"
REVEAL_SCOPES = frozenset({"approvals:reveal", "admin"})
#: The scopes that let a key see the requests of others.
SEE_ALL = frozenset({"approvals:read", *SCOPES, *REVEAL_SCOPES})


def check_decide(actor: Actor, project_id: Any, via: str) -> None:
    """Raise not-an-approver unless the actor is a person with the right to answer here, or the system for a rule."""
    if via == Via.RULE and actor.kind == "system":
        return
    if actor.kind == "key" and not SCOPES & set(actor.scopes):
        raise problems.forbidden("This key lacks the scope approvals:decide.", "not-an-approver")
    if actor.kind not in ("user", "key") or actor.user is None:
        raise problems.forbidden("Only a person, or a person's API key, answers approvals.", "not-an-approver")
    if actor.kind == "key" and actor.project_id == project_id:
        # The check of the key has just read both: a live key's owner sees its project, and holds these permissions.
        allowed = actor.holds(PERMISSION)
    else:
        allowed = may_decide(actor.user, project_id)
    if not allowed:
        raise problems.forbidden(f"{actor.user} lacks the permission {PERMISSION} here.", "not-an-approver")


def may_decide(user: User, project_id: Any) -> bool:
    """Return True if this member of the staff may answer in this project."""
    return bool(user.has_perm(PERMISSION)) and visible_to(user).filter(pk=project_id).exists()


def approvers(project_id: Any) -> QuerySet[User]:
    """Return the people who may answer in this project: `may_decide` in SQL."""
    able: QuerySet[User] = User.objects.with_perm(PERMISSION, backend="django.contrib.auth.backends.ModelBackend")
    return able.filter(Q(is_superuser=True) | Q(groups__projects=project_id)).distinct()


def seen_by(actor: Actor) -> Q:
    """Return the condition that this caller may see a row: `may_see` in SQL."""
    return condition(*view_of(actor))


def view_of(actor: Actor) -> tuple[str, dict[str, Any]]:
    """Return the kind of the caller's view, which names the form of its condition, and the values in it."""
    if not _sees_own_only(actor):
        return "all", {}
    if actor.kind == "child":
        return "attempt", {"session": actor.session, "attempt": actor.attempt}
    itself: dict[str, Any] = {"kind": actor.kind, "id": actor.id}
    return ("caller", itself) if actor.user_id is None else ("person", {**itself, "user_id": actor.user_id})


def condition(view: str, values: Mapping[str, Any]) -> Q:
    """Return the condition of a view with these values."""
    if view == "all":
        return Q()
    if view == "attempt":
        return Q(session=values["session"], attempt=values["attempt"])
    itself = Q(requested_by__kind=values["kind"], requested_by__id=values["id"])
    return itself if view == "caller" else itself | Q(requested_by__user_id=values["user_id"])


def is_requester(approval: Approval, actor: Actor) -> bool:
    """Return True if this very caller asked, not just another key of the same person."""
    if actor.kind == "child":
        return (approval.session, approval.attempt) == (actor.session, actor.attempt)
    return bool((approval.requested_by["kind"], approval.requested_by["id"]) == (actor.kind, actor.id))


def may_see(approval: Approval, actor: Actor) -> bool:
    """Return True if this caller may see the approval.

    Children, and keys that may only ask, see no requests of others.
    """
    return owns(approval, actor) or not _sees_own_only(actor)


def check_act(approval: Approval, actor: Actor) -> None:
    """Raise forbidden for a caller that neither asked nor may answer.

    A caller that may see a request may still not take its one execution.
    """
    if owns(approval, actor):
        return
    if actor.kind == "key":
        may_answer = bool(SCOPES & set(actor.scopes))
    else:
        may_answer = actor.kind == "system" or (actor.user is not None and actor.user.has_perm(PERMISSION))
    if not may_answer:
        raise problems.forbidden("Only the asker, or a caller that may answer, may do this.")


def check_reveal(actor: Actor, project_id: Any) -> None:
    """Raise forbidden unless the actor may see the hidden values of requests here.

    A person needs the permission, and a key the scope as well: its scopes are within the rights of its owner.
    """
    if actor.kind == "key" and not REVEAL_SCOPES & set(actor.scopes):
        raise problems.forbidden("This key lacks the scope approvals:reveal.")
    if actor.user is None or not actor.user.has_perm(VIEW_SECRETS):
        raise problems.forbidden(f"This needs the permission {VIEW_SECRETS}.")
    if not visible_to(actor.user).filter(pk=project_id).exists():
        raise problems.forbidden("This is in a project that you do not see.")


def may_reveal(actor: Actor, project_id: Any) -> bool:
    """Return True if the actor may see the hidden values of requests here."""
    try:
        check_reveal(actor, project_id)
    except problems.Problem:
        return False
    return True


def check_asker(approval: Approval, actor: Actor) -> None:
    """Raise forbidden for every caller but the asker: that key, its owner's other keys, or the session itself."""
    if not owns(approval, actor):
        raise problems.forbidden("Only the asker may do this.")


def _sees_own_only(actor: Actor) -> bool:
    return actor.kind == "child" or (actor.kind == "key" and not SEE_ALL & set(actor.scopes))


def owns(approval: Approval, actor: Actor) -> bool:
    """Return True for the asker: the key that asked, its owner's other keys, or the session itself."""
    by_owner = actor.user_id is not None and approval.requested_by.get("user_id") == actor.user_id
    return by_owner or is_requester(approval, actor)
