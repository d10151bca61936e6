"""Let a new request through if a live grant covers it, and count the use.

One guarded UPDATE takes a use: of n uses and any number of requests at once, n pass. It checks by itself that the grant
has not ended, has not expired by the database's clock, and is carried by a person who may still answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Case, Exists, F, Q, QuerySet, Value, When

from accounts.actors import Actor
from accounts.models import Credential
from approvals import permissions
from approvals.askers import SessionFacts
from approvals.grants import bounds, patterns, records
from approvals.models import Approval, Grant
from approvals.states import Decision, GrantEnd, GrantScope, Reversibility, Risk, is_within
from core.db import returning
from core.db.clock import database_now


def exists_for(project_id: Any, tool_name: str) -> Exists:
    """Return the condition that a live grant for this tool exists in the project.

    It is part of a statement that each ask runs anyway. So an ask without any grant costs no statement more.
    """
    return Exists(live(Grant.objects.filter(project=project_id, tool_name=tool_name)))


def live(grants: QuerySet[Grant]) -> QuerySet[Grant]:
    """Return those that have neither ended nor expired, by the database's clock."""
    return grants.filter(ended_at=None, expires_at__gt=database_now())


def carried(project_id: Any) -> Q:
    """Return the condition that a grant's person may still answer here, and that the key they used is still live.

    `project_id` may be a reference to the column of each grant.
    """
    keys = Credential.objects.filter(Q(expires_at=None) | Q(expires_at__gt=database_now()), ended_at=None)
    return Q(person__in=permissions.approvers(project_id).values("pk")) & (Q(key=None) | Q(key__in=keys.values("pk")))


def may_pass(approval: Approval, facts: SessionFacts) -> bool:
    """Return True if a grant or a plan may let this request through at all.

    A repeat of an action whose outcome is unknown is for people, with its warning: it may have run. A plan is, too.
    """
    return (
        approval.session is not None
        and facts.may_have_grants
        and not approval.is_plan
        and not approval.repeat_warning
        and Decision.APPROVE in approval.allowed_decisions
    )


def use(approval: Approval, facts: SessionFacts) -> Grant | None:
    """Take a use of a live grant that covers this new request. Return the grant, or None."""
    if not may_pass(approval, facts):
        return None
    for grant in _covering(approval, facts):
        taken = _take(grant)
        if taken is not None:
            return taken
    return None


def _covering(approval: Approval, facts: SessionFacts) -> Iterator[Grant]:
    """Yield the live grants that cover this request, the oldest first."""
    holder = Q(scope=GrantScope.SESSION, session=approval.session)
    holder |= Q(scope=GrantScope.TREE, session__in={*facts.path, approval.session})
    if facts.role:
        # A grant for a configured role is not for a session that only carries its name.
        reach = Q() if facts.has_role_reach else Q(has_role_reach=False)
        holder |= Q(reach, scope=GrantScope.ROLE, role=facts.role)
    same = Grant.objects.filter(
        holder, project=approval.project_id, tool_name=approval.tool_name, permission=approval.permission
    )
    action = patterns.read(approval.action)
    digests: dict[Any, str] = {}
    for grant in live(same).order_by("granted_at", "id")[: 4 * bounds.MOST_LIVE]:
        shape = (*sorted(grant.slots), None, grant.resource_slot)
        if not patterns.has_slots(action, grant.slots):
            continue
        if shape not in digests:
            digests[shape] = patterns.digest(action, grant.slots, grant.resource_slot)
        if (
            digests[shape] == grant.match_digest
            and is_within(approval.risk, grant.risk, Risk)
            and is_within(approval.reversibility, grant.reversibility, Reversibility)
            and patterns.varies_within(grant.seen, action, grant.slots, grant.resource_slot)
        ):
            yield grant


def _take(grant: Grant) -> Grant | None:
    """Run the one UPDATE that takes a use. The last use ends the grant."""
    is_last = Q(uses=F("used") + 1)
    free = live(Grant.objects.filter(carried(grant.project_id), id=grant.id, used__lt=F("uses")))
    for taken in returning.update(
        free,
        used=F("used") + 1,
        last_used_at=database_now(),
        ended_at=Case(When(is_last, then=database_now()), default=Value(None)),
        end_reason=Case(When(is_last, then=Value(GrantEnd.USED_UP.value)), default=Value(None)),
    ):
        if taken.ended_at is not None:
            records.ended(taken, Actor.system("grants"))
        return taken
    return None
