"""Record the life of a plan: its event, its audit row and its wake-up, in the transaction of the change."""

from __future__ import annotations

from typing import Any

from accounts.actors import Actor
from approvals.models import Plan
from core.db.clock import moment
from ledger import unit_of_work


def created(plan: Plan, steps: int, actor: Actor) -> None:
    """Record the birth of a plan. The digest of its approval names the manifest."""
    _record(plan, "created", actor, {"steps": steps, "expires_at": moment(plan.expires_at)})


def ended(plan: Plan, actor: Actor) -> None:
    """Record the end of a plan: revoked, used up, or with its session."""
    _record(plan, "revoked" if plan.end_reason == "revoked" else "ended", actor, {"reason": str(plan.end_reason)})


def _record(plan: Plan, change: str, actor: Actor, detail: dict[str, Any]) -> None:
    told = {"plan_id": str(plan.pk), **detail}
    unit_of_work.event(plan.project_id, f"plan_{change}", told, session=plan.session)
    unit_of_work.audit(plan.project_id, actor, f"plan.{change}", f"plan:{plan.pk}", detail)
    unit_of_work.wake(f"approval:{plan.pk}")
