"""Make the plan that a decision approves, in the transaction of the decision."""

from __future__ import annotations

from accounts.actors import Actor
from approvals import attempt_clock, audit_events
from approvals.grants import patterns
from approvals.models import Approval, Plan, PlanStep
from approvals.plans import records
from approvals.states import GrantEnd
from core.db.clock import database_now, later


def new(approval: Approval, actor: Actor) -> None:
    """Store the plan of an approval that was just decided. As for a grant, it may have ended with the attempt."""
    assert approval.session is not None and approval.attempt is not None  # noqa: S101 - for the types
    manifest = patterns.read(approval.action)["arguments"]
    plan = Plan(
        id=approval.id,
        approval_id=approval.id,
        project_id=approval.project_id,
        session=approval.session,
        ordered=manifest["ordered"],
        granted_at=database_now(),
        expires_at=later(manifest["expires_in_secs"]),
        granted_by=audit_events.person(actor),
        person=actor.user,
        key_id=actor.credential_id,
    )
    if not attempt_clock.is_open(approval.session, approval.attempt):
        plan.ended_at, plan.end_reason = database_now(), GrantEnd.SESSION_ENDED
    plan.save(force_insert=True)
    PlanStep.objects.bulk_create(
        PlanStep(
            plan=plan,
            number=number,
            tool_name=step["tool_name"],
            permission=step["permission"],
            step=step,
            count=step["count"],
        )
        for number, step in enumerate(manifest["steps"], 1)
    )
    plan.refresh_from_db()
    records.created(plan, len(manifest["steps"]), actor)
