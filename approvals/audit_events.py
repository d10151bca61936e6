"""What every change of an approval leaves behind, in the transaction that made it: event, audit row, nudges."""

from __future__ import annotations

from typing import Any

from accounts.actors import Actor
from approvals.models import Approval
from ledger import unit_of_work


def changed(approval: Approval, what: str, actor: Actor, **detail: Any) -> None:
    """Append `approval_<what>` to the feed and `approval.<what>` to the audit chain, and wake who may look.

    Neither ever holds arguments: the digest names the action.
    """
    payload = {
        "approval_id": str(approval.id),
        "request_id": approval.request_id,
        "tool_name": approval.tool_name,
        "status": str(approval.status),
        "via": approval.decided_via,
        **({"reason": approval.cancel_reason} if approval.cancel_reason else {}),
    }
    unit_of_work.event(
        approval.project_id, f"approval_{what}", payload, session=approval.session, attempt=approval.attempt
    )
    unit_of_work.audit(
        approval.project_id,
        actor,
        f"approval.{what}",
        f"approval:{approval.id}",
        {
            "status": str(approval.status),
            "digest": approval.digest,
            "version": approval.version,
            **{name: value for name, value in detail.items() if value is not None},
        },
    )
    unit_of_work.nudge(f"approval:{approval.id}")
    if approval.session is not None:
        unit_of_work.nudge(f"session:{approval.session}")


def person(actor: Actor) -> dict[str, Any]:
    """Who it was, as the row keeps it. `user_id` tells the same person behind a key and in the admin."""
    user = actor.user.get_username() if actor.user else None
    return {"kind": actor.kind, "id": actor.id, "name": actor.name, "user_id": actor.user_id, "user": user}


def child(approval: Approval) -> Actor:
    """The child that asked, for what comes over its line."""
    who = f"{approval.session}/{approval.attempt}"
    return Actor(
        kind="child", id=who, name=f"child {approval.session}", session=approval.session, attempt=approval.attempt
    )
