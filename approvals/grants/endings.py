"""End a grant before it expires: a person revokes it, or its session ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import QuerySet

from accounts.actors import Actor
from approvals import audit_events, permissions
from approvals.grants import records, selectors
from approvals.models import Grant, Plan
from approvals.states import GrantEnd, GrantScope, Via
from core.db import returning
from core.db.clock import database_now
from ledger import unit_of_work

Row = TypeVar("Row", Grant, Plan)


def revoke(project_id: Any, grant_id: UUID, actor: Actor) -> Grant:
    """End a grant now. A request that has taken a use before this commits stays approved; no later one passes.

    Revoking a grant that has ended changes nothing. Raises not-found, and not-an-approver.
    """
    with unit_of_work.transaction():
        selectors.find(project_id, grant_id)
        permissions.check_decide(actor, project_id, Via.REST)
        end(Grant.objects.filter(id=grant_id), GrantEnd.REVOKED, actor, records.ended)
        return selectors.find(project_id, grant_id)


def end_with_session(session_id: UUID) -> None:
    """End the grants for this session, and for it and its descendants, when the session has ended for good.

    Those for its role go on. Call it after the approvals of the session are settled: an ask locks its attempt before
    the grant, and two ends in another order could wait for each other.
    """
    of = Grant.objects.filter(session=session_id).exclude(scope=GrantScope.ROLE)
    end(of, GrantEnd.SESSION_ENDED, Actor.system("sessions"), records.ended)


def end(rows: QuerySet[Row], reason: GrantEnd, actor: Actor, record: Callable[[Row, Actor], None]) -> None:
    """End those grants or plans that have not ended yet, and record each end."""
    columns = {"ended_at": database_now(), "end_reason": reason, "ended_by": audit_events.person(actor)}
    with unit_of_work.transaction():
        for ended in returning.update(rows.filter(ended_at=None), **columns):
            record(ended, actor)
