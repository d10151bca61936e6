"""Check the right of an asker to act on its request.

The asker is the key that asked, another key of the same owner, or the session itself.
"""

from __future__ import annotations

from django.db.models import Q

from accounts.actors import Actor
from approvals.models import Approval
from approvals.permissions import PERMISSION, SCOPES
from core.web import problems

#: The scopes that let a key see the requests of others.
SEE_ALL = frozenset({"approvals:read", *SCOPES})


def seen_by(actor: Actor) -> Q:
    """Return the condition that this caller may see a row: `may_see` in SQL."""
    if not _sees_own_only(actor):
        return Q()
    if actor.kind == "child":
        return Q(session=actor.session, attempt=actor.attempt)
    itself = Q(requested_by__kind=actor.kind, requested_by__id=actor.id)
    return itself if actor.user_id is None else itself | Q(requested_by__user_id=actor.user_id)


def is_asker(approval: Approval, actor: Actor) -> bool:
    """Return True if this very caller asked, not just another key of the same person."""
    if actor.kind == "child":
        return (approval.session, approval.attempt) == (actor.session, actor.attempt)
    return bool((approval.requested_by["kind"], approval.requested_by["id"]) == (actor.kind, actor.id))


def may_see(approval: Approval, actor: Actor) -> bool:
    """Return True if this caller may see the approval.

    Children, and keys that may only ask, see no requests of others.
    """
    return _owns(approval, actor) or not _sees_own_only(actor)


def check(approval: Approval, actor: Actor) -> None:
    """Raise forbidden for a caller that neither asked nor may answer.

    A caller that may see a request may still not take its one execution.
    """
    if _owns(approval, actor):
        return
    if actor.kind == "key":
        may_answer = bool(SCOPES & set(actor.scopes))
    else:
        may_answer = actor.kind == "system" or (actor.user is not None and actor.user.has_perm(PERMISSION))
    if not may_answer:
        raise problems.forbidden("Only the asker, or a caller that may answer, may do this.")


def _sees_own_only(actor: Actor) -> bool:
    return actor.kind == "child" or (actor.kind == "key" and not SEE_ALL & set(actor.scopes))


def _owns(approval: Approval, actor: Actor) -> bool:
    by_owner = actor.user_id is not None and approval.requested_by.get("user_id") == actor.user_id
    return by_owner or is_asker(approval, actor)
