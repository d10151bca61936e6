"""Shape approvals for callers: the REST body, the current decision, and the fields of an `approval_reply`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from approvals.models import Approval
from approvals.states import RUNS, CancelReason, Decision, Status
from core.db import clock

# The message for the agent when no person wrote one.
SILENCE = {
    Status.EXPIRED: "No one answered in time. This is not a refusal.",
    Status.CANCELLED: "The request was withdrawn before anybody answered it.",
}


def approval(row: Approval, for_staff: bool = False) -> dict[str, Any]:
    """Return the REST body of an approval; `note` is for staff only."""
    action = json.loads(row.action)
    shape = {
        "id": str(row.id),
        "request_id": row.request_id,
        "project": str(row.project_id),
        "session": None if row.session is None else str(row.session),
        "attempt": row.attempt,
        "tool_name": row.tool_name,
        "tool_call_id": row.tool_call_id,
        "tool_schema_version": action["tool_schema_version"],
        "permission": row.permission,
        "resource": row.resource,
        "question": row.question,
        "arguments": action["arguments"],
        "proposed_arguments": row.proposed_arguments if row.proposed_action else None,
        "risk": row.risk,
        "allowed_decisions": row.allowed_decisions,
        "via": row.via,
        "status": str(row.status),
        "version": row.version,
        "digest": row.digest,
        "proposed_digest": row.proposed_digest,
        "expires_at": moment(row.expires_at),
        "requested_at": moment(row.requested_at),
        "requested_by": _person(row.requested_by),
        **_outcome(row),
        "delivered_at": moment(row.delivered_at),
        "consumed_at": moment(row.consumed_at),
        "waiters": getattr(row, "waiters", 0),
    }
    return {**shape, "note": row.note} if for_staff else shape


def current_decision(row: Approval) -> dict[str, Any]:
    """Return the current decision, for a caller that came too late."""
    return {"id": str(row.id), "status": str(row.status), "digest": row.digest, **_outcome(row)}


def current_sentence(row: Approval) -> str:
    """Return the current decision as a sentence."""
    if row.status == Status.PENDING:
        return "Nobody has answered yet."
    at = f"{row.settled_at:%Y-%m-%d %H:%M:%S} UTC"
    if row.status == Status.CANCELLED:
        ended = row.cancel_reason == CancelReason.ATTEMPT_ENDED
        return f"{'Its attempt ended' if ended else 'It was withdrawn'} at {at}: nobody waits for it any more."
    if row.status == Status.EXPIRED:
        return f"It expired at {at}: nobody answered in time."
    return f"{display_name(row.decided_by)} {past_tense(row)} it at {at}."


def display_name(person: dict[str, Any] | None) -> str:
    """Return a person's name for display. For an API key, name its owner too."""
    if not person:
        return "Nobody"
    owned = person["kind"] == "key" and person["user"]
    return f"{person['user']}'s key {person['name']}" if owned else str(person["name"])


def past_tense(row: Approval) -> str:
    """Return the decision as a verb in the past tense."""
    words = {Decision.EDIT: "edited and approved", Decision.RESPOND: "answered"}
    return words.get(Decision(row.decision_kind or Decision.APPROVE), str(row.status))


def reply_frame(row: Approval) -> dict[str, Any]:
    """Return the fields of `approval_reply`.

    `approved` is true only for the status `approved`. Only a decision that lets the action run (approve or edit)
    carries arguments.
    """
    approved = row.status == Status.APPROVED
    return {
        "id": row.request_id,
        "approval_id": str(row.id),
        "approved": approved,
        "decision": str(row.status),
        "message": row.message or SILENCE.get(Status(row.status)),
        "arguments": row.arguments if row.decision_kind in RUNS else None,
        "digest": row.digest,
        "version": row.version,
    }


def moment(at: datetime | None) -> str | None:
    """Format a time; None stays None."""
    return None if at is None else clock.moment(at)


def _outcome(row: Approval) -> dict[str, Any]:
    decision = (
        None
        if row.decision_kind is None
        else {
            "kind": str(row.decision_kind),
            "message": row.message,
            "arguments": row.arguments if row.decision_kind in RUNS else None,
            "via": row.decided_via,
        }
    )
    return {
        "decided_at": moment(row.decided_at),
        "decided_by": _person(row.decided_by),
        "decision": decision,
        "settled_at": moment(row.settled_at),
        "cancel_reason": row.cancel_reason,
    }


def _person(person: dict[str, Any] | None) -> dict[str, Any] | None:
    return person and {"kind": person["kind"], "id": person["id"], "name": person["name"], "user": person["user"]}
