"""Answers that come from the queue: one card, or several chosen ones, with a result for each request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import QueryDict

from accounts.actors import Actor
from approvals import schemas
from approvals.adminsite import glance
from approvals.decision_validation import Answer
from approvals.life import batches, bodies, claims
from approvals.models import Approval, ApprovalQuerySet
from approvals.states import Decision, Via
from core.web import problems
from core.web.paths import uuid_of

DECISIONS = (Decision.APPROVE.value, Decision.DENY.value)
CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Shown:
    """One request as the page showed it."""

    approval_id: UUID
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Line:
    """The result for one request: its words, and True for a refusal."""

    approval: Approval | None
    words: str
    is_refusal: bool = False


def take(posted: QueryDict, rows: ApprovalQuerySet, user: Any) -> list[Line]:
    """Answer the requests that a form of the queue names, and return one line for each.

    A button of a card carries the requests of that card; the buttons of the bar take all chosen cards. Each request is
    checked alone: an action that its card did not show whole is refused, and the others go on. Raises invalid for a
    form that names nothing, or too much.
    """
    batch = posted.get("batch", "")
    named = [batch] if batch else [name for name in (*DECISIONS, CLAIM) if posted.get(name)]
    if len(named) != 1 or named[0] not in (*DECISIONS, CLAIM):
        raise problems.invalid([{"field": "batch", "detail": "name one answer"}], "The form names no answer.")
    shown = _read(posted.getlist("items") if batch else posted.getlist(named[0]))
    actor, found = Actor.of_user(user), rows.in_bulk([each.approval_id for each in shown])
    if named[0] == CLAIM:
        return [_claimed(found.get(each.approval_id), actor) for each in shown]
    # The message is the reason of a denial. An agent that was allowed something needs none.
    message = posted.get("message", "").replace("\r\n", "\n") if named[0] == Decision.DENY else ""
    lines: dict[UUID, Line] = {}
    items = []
    for each in shown:
        approval = found.get(each.approval_id)
        if approval is None:
            lines[each.approval_id] = Line(None, problems.not_found().detail, True)
        elif named[0] == Decision.APPROVE and (why := glance.must_open(approval)):
            lines[each.approval_id] = Line(approval, f"Not approved: open its page first. {why}", True)
        else:
            answer = Answer(decision=named[0], digest=each.digest, version=each.version, message=message or None)
            items.append(batches.Item(approval.project_id, approval.pk, answer))
    for result in batches.decide(items, actor, Via.ADMIN):
        approval = found[result.item.approval_id]
        lines[approval.pk] = (
            Line(approval, str(result.refusal), True)
            if result.refusal
            else Line(approval, f"You {schemas.past_tense(result.approval or approval)} it.")
        )
    return [lines[each.approval_id] for each in shown]


def _read(values: Iterable[str]) -> list[Shown]:
    """Read `id:version:digest`, several in one value. The same request counts once."""
    found: dict[UUID, Shown] = {}
    for word in " ".join(values).split():
        raw, version, digest = (*word.split(":", 2), "", "")[:3]
        approval_id = uuid_of(raw)
        if approval_id is None or not (version.isascii() and version.isdigit() and len(version) < 10):
            raise problems.invalid([{"field": "items", "detail": "must be what the page sent"}])
        found[approval_id] = Shown(approval_id, int(version), digest)
    if not found:
        raise problems.invalid([{"field": "items", "detail": "is missing"}], "No request is chosen.")
    if len(found) > bodies.MOST_AT_ONCE:
        detail = f"At most {bodies.MOST_AT_ONCE} requests are answered at once. Nothing was decided."
        raise problems.invalid([{"field": "items", "detail": "are too many"}], detail)
    return list(found.values())


def _claimed(approval: Approval | None, actor: Actor) -> Line:
    if approval is None:
        return Line(None, problems.not_found().detail, True)
    try:
        claims.claim(approval.project_id, approval.pk, actor)
    except problems.Problem as refusal:
        return Line(approval, str(refusal), True)
    return Line(approval, "Others see that you look at it.")
