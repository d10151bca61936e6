"""Let a new request through if a live plan of its session announces it, and use the slot.

The row of the plan is locked first, so its calls, its order and its end follow one another. The slot itself is one
guarded UPDATE.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, QuerySet

from accounts.actors import Actor
from approvals.askers import SessionFacts
from approvals.grants import matching, patterns
from approvals.models import Approval, Plan, PlanStep
from approvals.plans import manifests, records
from approvals.states import GrantEnd
from core.db import returning
from core.db.clock import database_now


def exist_for(project_id: Any, session: Any) -> Exists:
    """Return the condition that this session has a live plan."""
    return Exists(live(Plan.objects.filter(project=project_id, session=session)))


def live(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Return those that have neither ended nor expired, by the database's clock."""
    return plans.filter(ended_at=None, expires_at__gt=database_now())


def use(approval: Approval, facts: SessionFacts) -> Plan | None:
    """Use a slot of a live plan that covers this new request. Return the plan, or None."""
    if not matching.may_pass(approval, facts):
        return None
    session: Any = approval.session
    plans = live(Plan.objects.filter(project=approval.project_id, session=session))
    announced = PlanStep.objects.filter(
        plan__in=plans.values("pk"), tool_name=approval.tool_name, permission=approval.permission, used__lt=F("count")
    )
    action = patterns.read(approval.action)
    for step in announced.order_by("plan__granted_at", "plan", "number"):
        if manifests.covers(step.step, action, approval.risk, approval.reversibility):
            plan = _take(step, approval.project_id)
            if plan is not None:
                return plan
    return None


def _take(step: PlanStep, project_id: Any) -> Plan | None:
    plans = live(Plan.objects.filter(matching.carried(project_id), pk=step.plan_id))
    plan = plans.select_for_update(no_key=True).first()
    if plan is None:
        return None
    steps = PlanStep.objects.filter(plan=plan)
    open_steps = steps.filter(used__lt=F("count"))
    if plan.ordered and open_steps.filter(number__lt=step.number).exists():
        return None
    if not open_steps.filter(pk=step.pk).update(used=F("used") + 1):
        return None
    columns: dict[str, Any] = {"last_used_at": database_now()}
    if not open_steps.exists():
        columns |= {"ended_at": database_now(), "end_reason": GrantEnd.USED_UP}
    [used] = returning.update(Plan.objects.filter(pk=plan.pk), **columns)
    if used.ended_at is not None:
        records.ended(used, Actor.system("plans"))
    return used
