"""Show the hidden values of a request to a person with the right to see them. Each look is an audit row."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import permissions
from approvals.display import copies
from approvals.models import Approval
from approvals.selectors import find
from ledger import unit_of_work


def reveal(project_id: Any, approval_id: UUID, actor: Actor) -> Approval:
    """Return the request with all its values, and record who looked. Raises not-found and forbidden."""
    with unit_of_work.transaction():
        approval = find(project_id, approval_id, actor, waiters=False)
        permissions.check_reveal(actor, project_id)
        note(approval, actor, "asked")
        return approval


def check_run(approval: Approval, actor: Actor) -> None:
    """Raise forbidden unless the actor may have the arguments that run.

    The asker has its own. Another caller that takes the execution gets hidden values only with the right to see them:
    it must not run a placeholder, and consuming must not be a way to look.
    """
    if not permissions.owns(approval, actor) and copies.has_secrets(approval):
        permissions.check_reveal(actor, approval.project_id)


def note(approval: Approval, actor: Actor, reason: str) -> None:
    """Write the audit row of a look. Requires a transaction."""
    detail = {"digest": approval.digest, "values": copies.of(approval).count, "reason": reason}
    unit_of_work.audit(approval.project_id, actor, "approval.revealed", f"approval:{approval.id}", detail)
