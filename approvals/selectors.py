"""Which approvals a caller may see: those of its project; a child, and a key that may only ask, those that it asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import (
    BooleanField,
    Case,
    Count,
    Exists,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from approvals import requesters
from approvals.models import Approval, ApprovalQuerySet, Waiter
from approvals.states import Over, Status
from core.db.clock import database_now
from core.web import problems


def seen_by(project_id: Any, actor: Actor) -> ApprovalQuerySet:
    """The approvals of this project that this caller may name."""
    return Approval.objects.filter(requesters.seen_by(actor), project_id=project_id)


def find(project_id: Any, approval_id: UUID, actor: Actor, now: datetime | None = None) -> Approval:
    """One of them, with `is_overdue` and `waiters`. Raises not-found, alike for the unknown and the foreign."""
    found = judged(seen_by(project_id, actor), now).filter(id=approval_id).first()
    if found is None:
        raise problems.not_found()
    return found


#: The condition that the child which asked for an approval is connected; the app that has connections tells us how, as
#: it starts. Without it only callers of REST are counted.
_is_connected: Callable[[datetime | None], Exists] | None = None


def count_connected(is_connected: Callable[[datetime | None], Exists]) -> None:
    """From now on a child that asked over its connection, and holds it, counts as one that waits."""
    global _is_connected
    _is_connected = is_connected


#: The name of the session that asked, as SQL; the app that has sessions tells us, as it starts. Without it: none.
_session_name: Callable[[], Subquery] | None = None


def name_sessions(session_name: Callable[[], Subquery]) -> None:
    """From now on staff see the name of the session beside its id."""
    global _session_name
    _session_name = session_name


def named(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate `session_name`: what staff call the session that asked; empty where there is none."""
    name = _session_name() if _session_name else Value("")
    return rows.annotate(session_name=Coalesce(name, Value(""), output_field=TextField()))


def judged(rows: ApprovalQuerySet, now: datetime | None = None) -> ApprovalQuerySet:
    """Annotate what the database's clock says: `is_overdue` (pending past its deadline) and live `waiters`.

    Who waits is a call that is held for the answer, and a child that asked over a connection which it still holds.
    """
    at = database_now(now)
    waiting = (
        Waiter.objects.filter(approval=OuterRef("pk"), lease_until__gt=at)
        .order_by()
        .values("approval")
        .annotate(number=Count("pk"))
        .values("number")
    )
    # The model declares both for readers; only here they get a value.
    return rows.annotate(  # type: ignore[no-redef]
        is_overdue=Case(
            When(Q(status=Status.PENDING, expires_at__lte=at), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        ),
        waiters=Coalesce(Subquery(waiting, output_field=IntegerField()), 0) + _blocked(now),
    )


def _blocked(now: datetime | None) -> Case | Value:
    """1 where the child itself is blocked over its connection."""
    if _is_connected is None:
        return Value(0)
    pending = Q(status=Status.PENDING, over=Over.LINE)
    return Case(When(pending & Q(_is_connected(now)), then=Value(1)), default=Value(0), output_field=IntegerField())
