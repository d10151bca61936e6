"""The cards of the queue: identical requests on one card, and the denial that a repeated ask has met before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import OuterRef, Subquery

from approvals.adminsite import glance
from approvals.models import Approval, ApprovalQuerySet
from approvals.outcomes import repeats
from approvals.states import Status
from core.db.clock import later

#: Seconds for which a denial is told beside the same ask.
TOLD_SECS = 24 * 3600


@dataclass(slots=True)
class Card:
    """One card: a request, and the identical ones that are answered with it."""

    approval: Approval
    members: list[Approval]
    glance: glance.Glance
    must_open: str
    may_deny: bool
    denied: Approval | None = None
    #: A run of the same action that has no report yet.
    open_run: Approval | None = None
    items: str = field(init=False)

    def __post_init__(self) -> None:
        self.items = " ".join(f"{each.id}:{each.version}:{each.digest}" for each in self.members)

    @property
    def may_approve(self) -> bool:
        return self.may_deny and not self.must_open


def with_denial(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate `denied_before`, the id of the last denial of the same action in the same project."""
    same = Approval.objects.filter(
        status=Status.DENIED,
        project=OuterRef("project"),
        likeness=OuterRef("likeness"),
        settled_at__gt=later(-TOLD_SECS),
    ).exclude(likeness="")
    last = same.order_by("-settled_at").values("pk")[:1]
    return rows.annotate(denied_before=Subquery(last))


def cards(rows: Iterable[Any], *, joined: bool) -> list[Card]:
    """Return the cards of a page. `joined` puts identical requests on one, in the place of the oldest.

    Only the rows of this page are joined. Requests on one card have the same action, risk and question.
    """
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        key = row.pk
        if joined and row.likeness:
            marks = row.open_questions, row.repeat_warning, row.fallback, row.escalations, row.is_plan
            shown = row.risk, row.reversibility, row.question, row.assignee, *row.allowed_decisions
            key = row.project_id, row.likeness, *map(bool, marks), *shown
        groups.setdefault(key, []).append(row)
    denied = {row.denied_before for row, *_ in groups.values()} - {None} if joined else set()
    denials = Approval.objects.only("pk", "decided_by", "settled_at").in_bulk(list(denied)) if denied else {}
    runs = repeats.open_runs(row for row, *_ in groups.values()) if joined else {}
    return [
        Card(
            row,
            members,
            seen,
            glance.must_open(row, seen),
            glance.may_deny(row) and not row.is_overdue,
            denials.get(getattr(row, "denied_before", None)),
            runs.get((row.project_id, row.likeness)),
        )
        for members in groups.values()
        for row, seen in ((members[0], glance.of(members[0])),)
    ]
