"""End a grant before it expires: a person revokes it, or its session ends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import audit_events, permissions
from approvals.grants import records, selectors
from approvals.models import Grant
from approvals.states import GrantEnd, GrantScope, Via
from core.db import returning
from core.db.clock import database_now
from ledger import unit_of_work


def revoke(project_id: Any, grant_id: UUID, actor: Actor) -> Grant:
    """End a grant now. A request that has taken a use before this commits stays approved; no later one passes.

    Revoking a grant that has ended changes nothing. Raises not-found, and not-an-approver.
    """
    with unit_of_work.transaction():
        selectors.find(project_id, grant_id)
        permissions.check_decide(actor, project_id, Via.REST)
        _end(Grant.objects.filter(id=grant_id), GrantEnd.REVOKED, actor)
        return selectors.find(project_id, grant_id)


def end_with_session(session_id: UUID) -> None:
    """End the grants for this session, and for it and its descendants, when the session has ended for good.

    Those for its role go on. Call it after the approvals of the session are settled: an ask locks its attempt before
    the grant, and two ends in another order could wait for each other.
    """
    of = Grant.objects.filter(session=session_id).exclude(scope=GrantScope.ROLE)
    _end(of, GrantEnd.SESSION_ENDED, Actor.system("sessions"))


def _end(grants: Any, reason: GrantEnd, actor: Actor) -> None:
    columns = {"ended_at": database_now(), "end_reason": reason, "ended_by": audit_events.person(actor)}
    with unit_of_work.transaction():
        for ended in returning.update(grants.filter(ended_at=None), **columns):
            records.ended(ended, actor)
