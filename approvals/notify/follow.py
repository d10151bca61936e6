"""Make notices from the feed, each for one target and one time. It runs after COMMIT, beside the calls of askers.

So a mail server that is away, or a mistake here, never fails or slows a request.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from accounts.models import Project
from approvals.models import Approval, Notice, NotifyPosition, Told
from approvals.notify import compose, targets
from approvals.states import NoticeKind, Status
from core.db.clock import later, read_database_clock
from ledger import sweep_batch, unit_of_work
from ledger.models import Event, Head, Source
from ledger.sweep_batch import Work

WORK = Work("deliveries_sweep", "people")
#: The events of one step.
SPAN = 10_000
#: A request that others settled is told later than a new one: often there is a new one by then, and one mail for both.
SETTLED_HOLD_SECS = 300
ASKS = {
    "approval_requested": NoticeKind.REQUESTED,
    "approval_delegated": NoticeKind.DELEGATED,
    "approval_reminded": NoticeKind.REMINDED,
    "approval_escalated": NoticeKind.ESCALATED,
    "approval_answered": NoticeKind.ANSWERED,
}
ENDS = ("approval_decided", "approval_expired", "approval_cancelled")


def is_wanted() -> bool:
    """Return True when Wardroom has a mail server or a chat room."""
    return bool(settings.EMAIL_HOST or settings.CHAT_URLS)


def follow() -> int:
    """Read on in each project's feed, then send the notices that are due. Return the number of new rows."""
    if not is_wanted():
        return 0
    newest = Head.objects.filter(pk=OuterRef("pk")).values("cursor")[:1]
    place = NotifyPosition.objects.filter(pk=OuterRef("pk")).values("cursor")[:1]
    rows = Project.objects.annotate(newest=Subquery(newest), place=Coalesce(Subquery(place), 0))
    behind = rows.filter(newest__gt=Coalesce(Subquery(place), 0)).order_by("pk").values_list("pk", flat=True)
    return sweep_batch.each(WORK, lambda most: behind[:most], advance) + compose.send_due()


def advance(project_id: UUID) -> int:
    """Read one step of a project's feed. Return the number of new notices."""
    NotifyPosition.objects.bulk_create([NotifyPosition(project_id=project_id)], ignore_conflicts=True)
    place = NotifyPosition.objects.get(pk=project_id).cursor
    until = min(Head.objects.get(pk=project_id).cursor, place + SPAN)
    rows = Event.objects.filter(project_id=project_id, cursor__gt=place, cursor__lte=until, source=Source.WARDROOM)
    events = list(rows.filter(type__in=(*ASKS, *ENDS)).order_by("cursor").values_list("type", "payload"))
    approvals = Approval.objects.in_bulk({UUID(payload["approval_id"]) for _, payload in events})
    now = read_database_clock()
    with unit_of_work.transaction():
        # Of two processes at the same place, one goes on.
        if not NotifyPosition.objects.filter(pk=project_id, cursor=place).update(cursor=until):
            return 0
        new = 0
        for type, payload in events:
            approval = approvals.get(UUID(payload["approval_id"]))
            if approval is None:
                continue
            new += _end(approval) if type in ENDS else _ask(approval, type, payload, now)
        return new


def _ask(approval: Approval, type: str, payload: dict[str, Any], now: datetime) -> int:
    """Tell the people of a request that waits. One that is settled meanwhile is told to nobody."""
    if approval.status != Status.PENDING:
        return 0
    users = targets.people(approval, type, payload)
    found = targets.due(users, targets.preferences(users), now)
    rows = [Notice(target=name, approval=approval, kind=ASKS[type], due_at=at) for name, at in found.items()]
    return len(Notice.objects.bulk_create(rows, ignore_conflicts=True))


def _end(approval: Approval) -> int:
    """Drop the notices that wait, and tell everybody that was told, except the decider."""
    Notice.objects.filter(~Q(kind=NoticeKind.SETTLED), approval=approval).delete()
    told = Told.objects.filter(approval=approval)
    decider = (approval.decided_by or {}).get("user_id")
    if decider is not None:
        told = told.exclude(target=f"user:{decider}")
    rows = [
        Notice(target=each.target, approval=approval, kind=NoticeKind.SETTLED, due_at=later(SETTLED_HOLD_SECS))
        for each in told
    ]
    return len(Notice.objects.bulk_create(rows, ignore_conflicts=True))
