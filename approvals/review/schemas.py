"""The answers of the calls on reviewers, and reviews as an approval shows them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType

from approvals import models
from approvals.rules.schemas import RulePerson
from approvals.states import ReviewerKind, ReviewState
from core.db import clock
from core.web.fields import Id, Moment, one_of, says


class Reviewer(Struct, frozen=True, kw_only=True):
    id: Id
    name: str
    kind: Annotated[str, one_of(ReviewerKind.values)]
    url: str | None
    entry_point: str | None
    at_once: int
    waiting: Annotated[int, says("Requests that wait for its verdict.")]
    previous_secret_until: Annotated[Moment | None, says("Until then the secret before the rotation signs too.")]
    changed_at: Moment
    changed_by: RulePerson
    secret: Annotated[str | UnsetType, says("Of a webhook. Shown once: in the answer that made it.")] = UNSET


class ReviewerPage(Struct, frozen=True):
    results: Annotated[list[Reviewer], says("By name.")]
    next: str | None


class ApprovalReview(Struct, frozen=True, kw_only=True):
    reviewer: str
    rule: str
    rule_version: int
    may_allow: Annotated[bool, says("Its ALLOW approves, if every reviewer says so and no rule asks people.")]
    deadline_at: Moment
    state: Annotated[str, one_of(ReviewState.values, says="`ask`, `failed` and `dropped` leave it to people.")]
    note: Annotated[
        str | None, says("The reviewer's words, or why it gave no verdict. Not verified, and not for the asker.")
    ]
    at: Moment | None
    has_answered: Annotated[bool, says("Its verdict is the answer of the request.")]


def reviewer(row: models.Reviewer, *, secret: str | None = None) -> Reviewer:
    """Return a reviewer as callers see it."""
    by = row.changed_by
    return Reviewer(
        id=str(row.pk),
        name=row.name,
        kind=row.kind,
        url=row.url or None,
        entry_point=row.entry_point or None,
        at_once=row.at_once,
        waiting=models.Review.objects.filter(reviewer=row).count(),
        previous_secret_until=None if row.previous_until is None else clock.moment(row.previous_until),
        changed_at=clock.moment(row.changed_at),
        changed_by=RulePerson(by["kind"], by["id"], by["name"]),
        secret=UNSET if secret is None else secret,
    )


def reviews(row: models.Approval, *, for_asker: bool) -> list[ApprovalReview]:
    """Return the reviews of a request. Their notes are for people: an agent could learn from them to get past."""
    shown, hidden = ApprovalReview.__struct_fields__, {"note": None} if for_asker else {}
    return [ApprovalReview(**{name: each[name] for name in shown} | hidden) for each in row.reviews or ()]


def under_review(row: models.Approval) -> list[str]:
    """Return the names of the reviewers that still look at a request."""
    waiting: list[dict[str, Any]] = [each for each in row.reviews or () if each["state"] == ReviewState.WAITING]
    return [each["reviewer"] for each in waiting]
