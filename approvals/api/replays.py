"""Whether a caller may have an answer of before again: what it may no longer do or see, a replay does not give."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import consumption, permissions, requesters
from approvals.selectors import find
from approvals.states import Via


def asked(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Of an ask. Raises not-found."""
    find(project_id, approval_id, actor)


def decided(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Of an answer. Raises not-found, not-an-approver."""
    find(project_id, approval_id, actor)
    permissions.check(actor, project_id, Via.REST)


def withdrawn(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Of a withdrawal. Raises not-found, forbidden."""
    requesters.check(find(project_id, approval_id, actor), actor)


def consumed(project_id: Any, approval_id: UUID, actor: Actor) -> None:
    """Of a consumption. Raises not-found, forbidden; not-running when the attempt that asked is over."""
    approval = find(project_id, approval_id, actor)
    requesters.check(approval, actor)
    consumption.refuse_over(approval)
