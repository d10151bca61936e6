"""The outcome of a consumed action on its page: what is known, and the form that settles an unknown one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.actors import Actor
from approvals.models import Approval
from approvals.outcomes import evidence, settlement
from approvals.states import Outcome, OutcomeNoteKind
from core.display.redaction import event_json, json_copy

WORDS = {
    Outcome.RAN: "It ran.",
    Outcome.FAILED: "It ran, and failed.",
    Outcome.UNKNOWN: "Its outcome is unknown.",
    Outcome.DID_NOT_RUN: "It did not run.",
    Outcome.UNREPORTED: "Its attempt completed without a report of its own.",
}
MISSED = "no report of its end came."
DOUBTED = "its executor says that it cannot tell."
CONTRADICTED = "The report came after the settlement, and says otherwise: the action ran."


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """An event of the attempt. `text` is its payload, for a reader that may see the session."""

    type: str
    at: datetime
    is_after: bool
    text: str


def context(approval: Approval, user: Any) -> dict[str, Any]:
    """Return what the page says about the run of an approval."""
    unknown, settled = approval.outcome == Outcome.UNKNOWN, approval.outcome_settled_as
    notes: list[Any] = list(approval.outcome_notes.order_by("id")) if approval.outcome else []
    for note in notes:
        note.probe_text = (
            "" if note.probe is None else json.dumps(json_copy(note.probe).shown, ensure_ascii=False, indent=2)
        )
    may_see, taken = user.has_perm("orchestration.view_session"), approval.consumed_at
    events = [
        ShownEvent(
            event.type,
            event.at,
            taken is not None and event.at > taken,
            event_json(json.dumps(event.payload, ensure_ascii=False)) if may_see and event.payload else "",
        )
        for event in (evidence.events_around(approval) if approval.outcome_unknown_at else ())
    ]
    return {
        "unknown": unknown,
        "run": {
            "is_shown": bool(notes),
            "words": WORDS[Outcome(approval.outcome)] if approval.outcome else "",
            "why": DOUBTED if any(note.kind == OutcomeNoteKind.REPORTED for note in notes) else MISSED,
            "notes": notes,
            "events": events,
            # The words for a report that says otherwise than the person who settled it.
            "contradiction": CONTRADICTED if settled == Outcome.DID_NOT_RUN != approval.outcome else "",
        },
    }


def settle(posted: Mapping[str, str], approval: Approval, user: Any) -> str:
    """Settle an unknown outcome as a form says, and say what was done. Raises as its operation does."""
    note = posted.get("note", "").replace("\r\n", "\n")
    settled_as = posted.get("settled_as", "")
    actor = Actor.of_user(user)
    settlement.settle(approval.project_id, approval.id, actor, settled_as=settled_as, note=note)
    return f"It is settled. {WORDS[Outcome(settled_as)]}"
