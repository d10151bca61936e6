"""Make the grant that a decision asks for, in the transaction of the decision."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from accounts.actors import Actor
from approvals import askers, attempt_clock, audit_events
from approvals.bodies import Remember
from approvals.display import copies
from approvals.grants import bounds, offers, patterns, records
from approvals.models import Approval, Grant
from approvals.states import GrantEnd, GrantScope
from core.db.clock import database_now, later


def errors(approval: Approval, remember: Remember, action: str) -> Iterator[dict[str, str]]:
    """Yield what is wrong with a `remember` of the right shape. `action` is the one that may run, edited or not."""
    slots = remember.slots or {}
    facts = askers.facts_of(approval.session)
    if refused := offers.refusal(approval, remember.scope, bool(slots), facts.role):
        yield {"field": refused[0], "detail": refused[1]}
        return
    if remember.exact is not None and remember.exact is bool(slots):
        yield {"field": "remember.exact", "detail": "a grant is for the exact action, or it has slots"}
    seen, shown = patterns.read(action), copies.of_action(action)
    for name, bound in slots.items():
        if not patterns.has_slots(seen, [name]):
            yield _slot(name, "is no argument of this action")
        elif shown["arguments"].get(name) != seen["arguments"][name]:
            # Nobody saw it, so nobody can say within what it may vary.
            yield _slot(name, "holds a hidden value, so it cannot vary")
        elif not patterns.fits(seen["arguments"][name], bound, like=seen["arguments"][name]):
            # An object or an array is never free: its members would vary, too.
            yield _slot(name, "the value that was shown is not within it")
    is_role = remember.scope == GrantScope.ROLE
    holder = Q(scope=remember.scope, role=facts.role) if is_role else Q(session=approval.session)
    live = Grant.objects.filter(holder, ended_at=None)
    if live.filter(project=approval.project_id, expires_at__gt=database_now()).count() >= bounds.MOST_LIVE:
        yield {"field": "remember", "detail": f"has {bounds.MOST_LIVE} live grants for this scope already"}


def new(approval: Approval, remember: Remember, actor: Actor) -> Grant:
    """Store the grant of an approval that was just decided. Requires the transaction of the decision.

    The attempt that asked may have ended in this very moment. Then nobody would end the grant with its session, so it
    has ended already.
    """
    assert approval.session is not None and approval.attempt is not None  # noqa: S101 - for the types
    facts = askers.facts_of(approval.session)
    action = patterns.read(approval.action)
    slots = remember.slots or {}
    repeated = next((name for name in sorted(slots) if action["resource"] == action["arguments"][name]), None)
    grant = Grant(
        id=approval.remembered,
        project_id=approval.project_id,
        approval_id=approval.id,
        scope=remember.scope,
        session=approval.session,
        role=facts.role,
        has_role_reach=facts.has_role_reach,
        action=approval.action,
        tool_name=approval.tool_name,
        permission=approval.permission,
        resource=approval.resource,
        match_digest=patterns.digest(action, slots, repeated),
        slots=slots,
        resource_slot=repeated,
        risk=approval.risk,
        reversibility=approval.reversibility,
        uses=remember.uses or bounds.MOST_USES,
        granted_at=database_now(),
        expires_at=later(remember.expires_in_secs or bounds.USUAL_SECS),
        granted_by=audit_events.person(actor),
        person=actor.user,
        key_id=actor.credential_id,
    )
    if not attempt_clock.is_open(approval.session, approval.attempt) and remember.scope != GrantScope.ROLE:
        grant.ended_at, grant.end_reason = database_now(), GrantEnd.SESSION_ENDED
    grant.save(force_insert=True)
    grant.refresh_from_db()
    records.created(grant, actor)
    return grant


def _slot(name: str, detail: str) -> dict[str, str]:
    return {"field": f"remember.slots.{name}", "detail": detail}
