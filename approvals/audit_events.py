"""Record each change of an approval in the same transaction: feed event, audit row and wake-ups."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals.models import Approval
from approvals.states import RequestVia
from ledger import unit_of_work

#: The changes that are sent to the child that asked over its connection: the ends of an approval, and a question.
ANSWERS = frozenset({"decided", "expired", "cancelled", "asked_back"})


def record_change(
    approval: Approval, change: str, actor: Actor, *, reason: str, told: dict[str, Any] | None = None, **detail: Any
) -> None:
    """Append `approval_<change>` to the feed and `approval.<change>` to the audit chain, and wake the waiters.

    `reason` says why it changed, in both. `told` are further members of the event, `detail` those of the audit row.
    Neither record holds arguments: the digest names the action. Only an answer over the connection wakes the
    connection: it has nothing to send after a request or an acknowledgement, which are its child's own frames.
    """
    payload = {
        "approval_id": str(approval.id),
        "request_id": approval.request_id,
        "tool_name": approval.tool_name,
        "status": str(approval.status),
        "via": approval.decided_via,
        "version": approval.version,
        "reason": reason,
        **(told or {}),
        **({"fallback": approval.fallback} if change == "fallback" else {}),
    }
    unit_of_work.event(
        approval.project_id, f"approval_{change}", payload, session=approval.session, attempt=approval.attempt
    )
    unit_of_work.audit(
        approval.project_id,
        actor,
        f"approval.{change}",
        f"approval:{approval.id}",
        {
            "status": str(approval.status),
            "digest": approval.digest,
            "version": approval.version,
            "reason": reason,
            **{name: value for name, value in detail.items() if value is not None},
        },
    )
    unit_of_work.wake(f"approval:{approval.id}")
    if change in ANSWERS and approval.session is not None and approval.via == RequestVia.CONNECTION:
        unit_of_work.wake(answers(approval.session))


def demands(approval: Approval) -> dict[str, Any]:
    """Return the demands of rules on the answer to a new request, for its records. Empty without such a rule."""
    if approval.rule is None:
        return {}
    found = {"rule": approval.rule, "rule_version": approval.rule_version, "policy_version": approval.policy_version}
    terms = approval.terms or {}
    found |= {name: terms[name] for name in ("rules", "undecided", "approvers") if terms.get(name)}
    return found | {"quorum": approval.quorum, "four_eyes": approval.four_eyes}


def answers(session_id: UUID) -> str:
    """Return the wake-up topic of a session's connection for answers: it need not look for messages."""
    return f"answers:{session_id}"


def policy(project_id: UUID) -> str:
    """Return the wake-up topic of a project's rules."""
    return f"policy:{project_id}"


def person(actor: Actor) -> dict[str, Any]:
    """Return the actor as the row stores it. `user_id` is the same for one person's keys and admin logins."""
    user = actor.user.get_username() if actor.user else None
    return {"kind": actor.kind, "id": actor.id, "name": actor.name, "user_id": actor.user_id, "user": user}


def child(approval: Approval) -> Actor:
    """Return the child that asked, as the actor of everything that arrives over its connection."""
    who = f"{approval.session}/{approval.attempt}"
    return Actor(
        kind="child", id=who, name=f"child {approval.session}", session=approval.session, attempt=approval.attempt
    )
