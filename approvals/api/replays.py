"""Check that a caller may get a stored answer again. A replay must not show a caller more than a new call would."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import consumption, permissions
from approvals.display import revealing
from approvals.outcomes import reports
from approvals.selectors import find
from approvals.states import Via


def asked(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Check the replay of an ask. Raises not-found."""
    find(project_id, approval_id, actor)


def decided(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Check the replay of a decision. Raises not-found, not-an-approver."""
    find(project_id, approval_id, actor)
    permissions.check_decide(actor, project_id, Via.REST)


def withdrawn(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Check the replay of a withdrawal. Raises not-found, forbidden."""
    permissions.check_act(find(project_id, approval_id, actor), actor)


def consumed(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Check the replay of a consumption. Raises not-found, forbidden, and not-running if the asking attempt is over."""
    approval = find(project_id, approval_id, actor)
    permissions.check_act(approval, actor)
    revealing.check_run(approval, actor)
    consumption.refuse_over(approval)


def fallen_back(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Check the replay of a fallback. Raises not-found, forbidden."""
    permissions.check_asker(find(project_id, approval_id, actor), actor)


def reported(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Check the replay of a report of the outcome. Raises not-found, forbidden."""
    reports.check_executor(find(project_id, approval_id, actor), actor)
