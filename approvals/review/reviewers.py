"""Add, change and remove reviewers. Each change is an audit row, and needs the right to change rules."""

from __future__ import annotations

from importlib import metadata as packages
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from accounts.actors import Actor
from approvals import audit_events
from approvals.models import Review, Reviewer, Rule
from approvals.review.bodies import ReviewerBody
from approvals.rules import editing
from approvals.states import ReviewerKind, RuleOutcome
from core.db.clock import database_now, later
from core.web import problems
from ledger import unit_of_work
from ledger.webhooks import addresses, signing
from wardroom import reviewers as programs

#: The most reviewers of one project.
MOST = 50
RETRY_SECS = 3600
#: The seconds for which a replaced secret signs too.
ROTATION_SECS = 86_400


def reviewers_of(project_id: Any) -> QuerySet[Reviewer]:
    """Return the reviewers of a project, by name."""
    return Reviewer.objects.filter(project_id=project_id)


def find(project_id: Any, reviewer_id: UUID) -> Reviewer:
    """Return one reviewer. Raises not-found, the same for an unknown one and for a foreign one."""
    reviewer = reviewers_of(project_id).filter(id=reviewer_id).first()
    if reviewer is None:
        raise problems.not_found()
    return reviewer


def create(project_id: Any, body: ReviewerBody, actor: Actor) -> tuple[Reviewer, str | None]:
    """Add a reviewer. Return it and the secret of a webhook, which is shown this once.

    Raises invalid, too-many, and conflict for a name that is taken.
    """
    with unit_of_work.transaction():
        editing.lock(project_id)
        _check(body)
        mine = reviewers_of(project_id)
        if mine.count() >= MOST:
            raise problems.too_many(f"A project has at most {MOST} reviewers.", RETRY_SECS)
        editing.refuse_taken(mine, body.name)
        secret, sealed = signing.new_secret() if body.url else (None, "")
        reviewer = Reviewer(project_id=project_id, secret=sealed)
        _fill(reviewer, body, actor)
        reviewer.save(force_insert=True)
        _audit(reviewer, actor, "created")
        return find(project_id, reviewer.id), secret


def change(project_id: Any, reviewer_id: UUID, body: ReviewerBody, actor: Actor) -> Reviewer:
    """Replace the settings of a reviewer. With another place, calls that run count no more: they are made again.

    Raises not-found, invalid for another kind, and conflict for a name that is taken, or that rules name.
    """
    with unit_of_work.transaction():
        editing.lock(project_id)
        reviewer = find(project_id, reviewer_id)
        _check(body)
        if (reviewer.kind == ReviewerKind.WEBHOOK) != (body.url is not None):
            detail = f"a {reviewer.kind} stays one: add another reviewer"
            raise problems.invalid([{"field": "url" if body.url is not None else "entry_point", "detail": detail}])
        if body.name != reviewer.name:
            _refuse_named(reviewer)
            editing.refuse_taken(reviewers_of(project_id), body.name)
        former = reviewer.url, reviewer.entry_point
        _fill(reviewer, body, actor)
        reviewer.save(force_update=True)
        if (reviewer.url, reviewer.entry_point) != former:
            _end_calls(reviewer)
        _audit(reviewer, actor, "changed")
        return find(project_id, reviewer_id)


def rotate(project_id: Any, reviewer_id: UUID, actor: Actor) -> tuple[Reviewer, str]:
    """Make a new secret of a webhook, and return it. Both sign for a day.

    Raises not-found, and conflict for a program.
    """
    with unit_of_work.transaction():
        editing.lock(project_id)
        reviewer = find(project_id, reviewer_id)
        if reviewer.kind != ReviewerKind.WEBHOOK:
            raise problems.conflict("A program has no secret.")
        secret, sealed = signing.new_secret()
        reviewers_of(project_id).filter(id=reviewer_id).update(
            secret=sealed, previous_secret=reviewer.secret, previous_until=later(ROTATION_SECS)
        )
        _audit(reviewer, actor, "secret_rotated")
        return find(project_id, reviewer_id), secret


def in_rotation(reviewer: Reviewer) -> bool:
    """Return True while the secret before the rotation signs too."""
    return Reviewer.objects.filter(pk=reviewer.pk, previous_until__gt=database_now()).exists()


def delete(project_id: Any, reviewer_id: UUID, actor: Actor) -> None:
    """Delete a reviewer. Requests that wait for it, also in a call, go to people at their deadline of review.

    Raises not-found, and conflict while rules name it.
    """
    with unit_of_work.transaction():
        editing.lock(project_id)
        reviewer = find(project_id, reviewer_id)
        _refuse_named(reviewer)
        _audit(reviewer, actor, "deleted")
        _end_calls(reviewer)
        reviewers_of(project_id).filter(id=reviewer_id).delete()


def installed() -> list[str]:
    """Return the names of the reviewers of installed packages."""
    return sorted({point.name for point in packages.entry_points(group=programs.GROUP)})


def place(reviewer: Reviewer) -> str:
    """Return the entry point, or the host of the URL. The rest of a URL may hold a secret."""
    return reviewer.entry_point or (urlsplit(reviewer.url).netloc or reviewer.url)[:300]


def _check(body: ReviewerBody) -> None:
    if (body.url is None) == (body.entry_point is None):
        raise problems.invalid([{"field": "url", "detail": "name a url or an entry_point, not both"}])
    if body.url is not None:
        try:
            addresses.parse(body.url, private=settings.WEBHOOKS_PRIVATE)
        except addresses.Refused as refusal:
            raise problems.invalid([{"field": "url", "detail": str(refusal)}]) from None
    elif body.entry_point not in (known := installed()):
        detail = f"no installed package has it. Known: {', '.join(known) or 'none'}"
        raise problems.invalid([{"field": "entry_point", "detail": detail}])


def _fill(reviewer: Reviewer, body: ReviewerBody, actor: Actor) -> None:
    reviewer.name, reviewer.at_once = body.name, body.at_once
    reviewer.kind = ReviewerKind.PROGRAM if body.url is None else ReviewerKind.WEBHOOK
    reviewer.url, reviewer.entry_point = body.url or "", body.entry_point or ""
    reviewer.changed_at, reviewer.changed_by = database_now(), audit_events.person(actor)


def _end_calls(reviewer: Reviewer) -> None:
    """Take the claim from the calls that run: their verdicts are those of a reviewer that is no more."""
    Review.objects.filter(reviewer=reviewer).update(claim=None)


def _refuse_named(reviewer: Reviewer) -> None:
    rules = Rule.objects.filter(project_id=reviewer.project_id, outcome=RuleOutcome.REVIEW)
    naming = [rule.name for rule in rules if rule.review and rule.review["reviewer"] == reviewer.name]
    if naming:
        raise problems.conflict(f"The rule {naming[0]} names this reviewer.", rules=naming)


def _audit(reviewer: Reviewer, actor: Actor, change: str) -> None:
    detail = {"name": reviewer.name, "kind": reviewer.kind, "place": place(reviewer), "at_once": reviewer.at_once}
    unit_of_work.audit(reviewer.project_id, actor, f"reviewer.{change}", f"reviewer:{reviewer.id}", detail)
