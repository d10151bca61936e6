"""Shape what happens to a request before its answer: its steps, and the questions to its asker."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct, structs

from accounts.actors import Actor
from approvals import models, permissions, schemas
from approvals.display import copies
from approvals.schemas import ApprovalPerson
from approvals.states import StepKind
from core.db import clock
from core.display.redaction import redacted
from core.web.fields import Id, Moment, one_of, says


class ApprovalQuestion(Struct, frozen=True):
    id: Id
    question: str
    asked_by: ApprovalPerson | None
    asked_at: Moment
    answer: Annotated[str | None, says("Of the asker, unverified.")]
    answered_at: Moment | None


class ApprovalQuestions(Struct, frozen=True):
    results: Annotated[list[ApprovalQuestion], says("Oldest first.")]


class ApprovalStep(Struct, frozen=True):
    kind: Annotated[str, one_of(StepKind.values)]
    at: Moment
    by: ApprovalPerson | None
    detail: dict[str, Any]
    note: Annotated[str | None, says("For the staff.")]


class ApprovalHistory(Struct, frozen=True):
    results: Annotated[list[ApprovalStep], says("Oldest first.")]


def history(row: models.Approval) -> ApprovalHistory:
    """Return the steps of a request before its answer, oldest first."""
    steps = row.steps.order_by("id")
    return ApprovalHistory(
        [
            ApprovalStep(step.kind, clock.moment(step.at), schemas.person(step.by), step.detail, copies.text(step.note))
            for step in steps
        ]
    )


def snoozed(row: models.Approval, viewer: Actor) -> schemas.Approval:
    """Return the request as it is now, with the end of the caller's own snooze of it."""
    until = models.Snooze.objects.filter(approval=row.pk, user=viewer.user).values_list("until", flat=True).first()
    return structs.replace(schemas.approval(row, viewer), snoozed_until=schemas.moment(until))


def questions(row: models.Approval, viewer: Actor | None = None) -> ApprovalQuestions:
    """Return the questions to the asker and its answers, oldest first. Only the asker sees the secrets of the texts."""
    is_raw = viewer is not None and permissions.owns(row, viewer)
    return ApprovalQuestions(
        [
            ApprovalQuestion(
                str(each.id),
                each.question if is_raw else redacted(each.question),
                schemas.person(each.asked_by),
                clock.moment(each.asked_at),
                each.answer if is_raw else copies.text(each.answer),
                schemas.moment(each.answered_at),
            )
            for each in row.questions.order_by("asked_at", "id")
        ]
    )
