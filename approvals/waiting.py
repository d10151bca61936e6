"""Wait for an answer by REST: read and hand over the answer, and count the waiters by leases."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import consumption, decisions
from approvals.models import Approval, Waiter
from approvals.selectors import find
from approvals.states import Status
from core.db.clock import later
from core.limits import LIMITS

# A lease outlives the longest held call by this, so that it expires only if its server died.
SPARE_SECS = 5


def look(project_id: Any, approval_id: UUID, actor: Actor) -> Approval:
    """Return the approval as it is now. If the asker reads an answer, record its delivery. Raises not-found."""
    approval = find(project_id, approval_id, actor)
    if approval.is_overdue:
        decisions.expire(approval_id)
        approval = find(project_id, approval_id, actor)
    if approval.status == Status.PENDING:
        return approval
    consumption.hand_over(approval, actor)
    return approval


def begin(approval_id: UUID) -> int:
    """Record a waiter and return the id of its lease."""
    lease = later(LIMITS.held_call_secs + SPARE_SECS)
    return Waiter.objects.create(approval_id=approval_id, lease_until=lease).pk


def end(lease_id: int) -> None:
    """Remove a waiter's lease."""
    Waiter.objects.filter(pk=lease_id).delete()
