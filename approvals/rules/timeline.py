"""Reminders and escalations of pending requests, as their rules demanded when they were asked.

The times are rows: a sweep takes each step once, by the database's clock, whichever process was down meanwhile. A step
that is due after the deadline is not taken: nobody could answer any more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import F

from accounts.actors import Actor
from accounts.models import User
from approvals.life import steps
from approvals.models import Approval, Snooze
from approvals.states import StepKind
from core.db.clock import database_now
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work

SWEEPER = Actor.system("rules")
WORK = Work("approvals_expiry_sweep", "reminders and escalations")


def take_due(limit: int = 500) -> int:
    """Sweeper: take the steps of requests that are due. Return the number of steps."""
    due = Approval.objects.pending().in_time(database_now()).filter(next_step_at__lte=database_now())
    ids = due.order_by("next_step_at").values_list("id", flat=True)
    return sweep_batch.each(WORK, lambda most: ids[:most], take_next, limit=limit)


def take_next(approval_id: UUID) -> int:
    """Take the steps of one request that are due, in order, each once. Return their number."""
    taken = 0
    while _take_one(approval_id):
        taken += 1
    return taken


def _take_one(approval_id: UUID) -> bool:
    with unit_of_work.transaction():
        rows = Approval.objects.pending().in_time(database_now()).filter(next_step_at__lte=database_now())
        approval = rows.select_for_update(no_key=True).filter(id=approval_id).first()
        if approval is None:
            return False
        planned = (approval.terms or {})["steps"]
        step, following = planned[approval.steps_done], planned[approval.steps_done + 1 :]
        at = approval.requested_at + timedelta(seconds=following[0]["after_secs"]) if following else None
        columns: dict[str, Any] = {"steps_done": F("steps_done") + 1, "next_step_at": at}
        detail = {"rule": step["rule"], "after_secs": step["after_secs"]}
        if step["kind"] == "remind":
            taken = steps.take(approval, StepKind.REMINDED, SWEEPER, columns, reason="rule", detail=detail)
            return taken is not None
        columns |= {"escalated_at": database_now(), "escalations": F("escalations") + 1}
        # Only the people and groups that still exist.
        people = User.objects.filter(username__in=step.get("users", []), is_active=True)
        groups = Group.objects.filter(name__in=step.get("groups", [])).values_list("name", "pk")
        known = {name: {"kind": "group", "id": str(pk), "name": name} for name, pk in groups}
        targets = [{"kind": "user", "id": str(pk), "name": name} for pk, name in people.values_list("pk", "username")]
        targets += [known[name] for name in step.get("groups", []) if name in known]
        if targets:
            # As by hand: it is for the first one, and whoever looked at it looks at it no more.
            columns |= {"assigned_to": targets[0], "claimed_by": None, "claimed_until": None}
            detail |= {"to": targets[0], "targets": targets}
        reason = "deadline" if step["kind"] == "deadline" else "rule"
        taken = steps.take(approval, StepKind.ESCALATED, SWEEPER, columns, reason=reason, detail=detail)
        Snooze.objects.filter(approval_id=approval_id).delete()
        # None: the deadline has passed in this very moment. Nothing more is due then.
        return taken is not None
