"""End a plan before it expires: a person revokes it, or its session ends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import permissions
from approvals.grants.endings import end
from approvals.models import Plan
from approvals.plans import records, selectors
from approvals.states import GrantEnd, Via
from ledger import unit_of_work


def revoke(project_id: Any, plan_id: UUID, actor: Actor) -> Plan:
    """End a plan now. Calls that passed stay approved; no later one passes. A plan that has ended stays as it is.

    Raises not-found, and not-an-approver.
    """
    with unit_of_work.transaction():
        selectors.find(project_id, plan_id)
        permissions.check_decide(actor, project_id, Via.REST)
        end(Plan.objects.filter(pk=plan_id), GrantEnd.REVOKED, actor, records.ended)
        return selectors.find(project_id, plan_id)


def end_with_session(session_id: UUID) -> None:
    """End the plans of a session that has ended for good. Call it after its approvals are settled, as for grants."""
    of = Plan.objects.filter(session=session_id)
    end(of, GrantEnd.SESSION_ENDED, Actor.system("sessions"), records.ended)
