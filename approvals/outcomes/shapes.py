"""The shape of an outcome for callers of REST."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from approvals import models, schemas
from approvals.display import copies
from approvals.outcomes import evidence
from approvals.states import Outcome, OutcomeNoteKind
from core.db import clock
from core.display.redaction import json_copy
from core.web.fields import Moment, one_of, says


class ApprovalOutcomeNote(Struct, frozen=True):
    kind: Annotated[str, one_of(OutcomeNoteKind.values, says="`missed`: no report came in time.")]
    outcome: Annotated[str, one_of(Outcome.values)]
    at: Moment
    by: schemas.ApprovalPerson | None
    detail: Annotated[str | None, says("Of the executor, unverified.")]
    probe: Annotated[dict[str, Any] | None, says("What the executor read back. Unverified.")]
    note: Annotated[str | None, says("For the staff.")]


class ApprovalOutcomeEvent(Struct, frozen=True):
    cursor: int
    type: str
    at: Moment


class ApprovalOutcome(Struct, frozen=True):
    outcome: Annotated[str, one_of(Outcome.values)] | None
    consumed_at: Moment | None
    unknown_at: Moment | None
    reported_at: Moment | None
    settled_as: Annotated[str, one_of(Outcome.values)] | None
    notes: Annotated[list[ApprovalOutcomeNote], says("Oldest first.")]
    events: Annotated[list[ApprovalOutcomeEvent], says("Of the attempt, around the consumption and the last ones.")]


def outcome(row: models.Approval) -> ApprovalOutcome:
    """Return what is known about the run of an approval."""
    return ApprovalOutcome(
        outcome=row.outcome,
        consumed_at=schemas.moment(row.consumed_at),
        unknown_at=schemas.moment(row.outcome_unknown_at),
        reported_at=schemas.moment(row.outcome_reported_at),
        settled_as=row.outcome_settled_as,
        notes=[
            ApprovalOutcomeNote(
                note.kind,
                note.outcome,
                clock.moment(note.at),
                schemas.person(note.by),
                copies.text(note.detail),
                json_copy(note.probe).shown,
                copies.text(note.note),
            )
            for note in row.outcome_notes.order_by("id")
        ],
        events=[
            ApprovalOutcomeEvent(each.cursor, each.type, clock.moment(each.at)) for each in evidence.events_around(row)
        ],
    )
