"""Select the approvals that a caller may see.

A caller sees the approvals of its project. A child, and a key that may only ask, see only their own requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import (
    BooleanField,
    Case,
    Count,
    DateTimeField,
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
from approvals import permissions
from approvals.models import Approval, ApprovalQuerySet, Snooze, Subject, Waiter
from approvals.states import RequestVia, Status
from core.db.clock import database_now
from core.db.compiled import CompiledQueries
from core.web import problems

_COMPILED: CompiledQueries[Approval] = CompiledQueries()
#: The rows that a page looks through at most, to count or to search them.
MOST_LOOKED_AT = 10_000


def seen_by(project_id: Any, actor: Actor) -> ApprovalQuerySet:
    """Return the approvals of this project that this caller may see."""
    return Approval.objects.filter(permissions.seen_by(actor), project_id=project_id)


def find(project_id: Any, approval_id: UUID, actor: Actor, *, waiters: bool = True) -> Approval:
    """Return one visible approval, with `is_overdue` and, unless `waiters` is false, `waiters`.

    Raises not-found, both for an unknown approval and for one that the caller may not see.
    """
    view, values = permissions.view_of(actor)

    def build(values: Mapping[str, Any]) -> ApprovalQuerySet:
        rows = Approval.objects.filter(permissions.condition(view, values), project_id=values["project"])
        return (with_waiters(rows) if waiters else with_overdue(rows)).filter(id=values["approval"]).order_by()

    found = _COMPILED.rows((view, waiters), {**values, "project": project_id, "approval": approval_id}, build)
    if not found:
        raise problems.not_found()
    return found[0]


#: The condition that the child which asked is connected. The app that has connections registers it at start-up.
#: Without it only callers of REST are counted.
_is_connected: Callable[[], Exists] | None = None


def count_connected(is_connected: Callable[[], Exists]) -> None:
    """Count a child that asked over its connection, and is still connected, as a waiter."""
    global _is_connected
    _is_connected = is_connected


#: The name of the session that asked, as SQL. The app that has sessions registers it at start-up. Without it: none.
_session_name: Callable[[], Subquery] | None = None
_names_of: Callable[[Iterable[UUID]], Mapping[UUID, str]] | None = None


def name_sessions(
    session_name: Callable[[], Subquery], names_of: Callable[[Iterable[UUID]], Mapping[UUID, str]]
) -> None:
    """Show staff the name of the session beside its id, and the names of those above it."""
    global _session_name, _names_of
    _session_name, _names_of = session_name, names_of


def names_of_path(approval: Approval) -> list[tuple[str, str]]:
    """Return the sessions from the root of the tree to the one that asked: each id with its name, or an empty text."""
    names = _names_of(map(UUID, approval.path)) if _names_of else {}
    return [(each, names.get(UUID(each), "")) for each in approval.path]


def with_session_name(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate `session_name`, the name that staff use for the session that asked; empty without a session."""
    name = _session_name() if _session_name else Value("")
    return rows.annotate(session_name=Coalesce(name, Value(""), output_field=TextField()))


def with_waiters(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate `is_overdue` (pending past its deadline) and the number of live `waiters`, by the database's clock.

    A waiter is a call that is held for the answer, or a child that asked over a connection that it still holds.
    """
    at = database_now()
    waiting = (
        Waiter.objects.filter(approval=OuterRef("pk"), lease_until__gt=at)
        .order_by()
        .values("approval")
        .annotate(number=Count("pk"))
        .values("number")
    )
    held = Coalesce(Subquery(waiting, output_field=IntegerField()), 0)
    blocked: Any = Value(0)
    if _is_connected is not None:
        over_connection = Q(status=Status.PENDING, via=RequestVia.CONNECTION)
        waits = When(over_connection & Q(_is_connected()), then=Value(1))
        blocked = Case(waits, default=Value(0), output_field=IntegerField())
    # The model declares both for readers; only here they get a value.
    return with_overdue(rows).annotate(held_calls=held, is_blocked=blocked)  # type: ignore[no-redef]


def with_claims(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate `is_claimed`: a person looks at it now, by the database's clock."""
    claimed = When(claimed_until__gt=database_now(), then=Value(True))
    return rows.annotate(  # type: ignore[no-redef]
        is_claimed=Case(claimed, default=Value(False), output_field=BooleanField())
    )


def snoozed_by(user_id: int | None) -> Exists:
    """Return the condition that this person has put the request out of their own queue for now."""
    return Exists(Snooze.objects.filter(approval=OuterRef("pk"), user=user_id, until__gt=database_now()))


def addressed_to(user: Any) -> Q:
    """Return the condition that a request is for this person, for one of their groups, or for nobody in particular."""
    return Q(assignee__in=["", f"user:{user.pk}", *_own_groups(user)])


def for_groups_of(user: Any) -> Q:
    """Return the condition that a request is for one of this person's groups."""
    return Q(assignee__in=_own_groups(user))


def _own_groups(user: Any) -> list[str]:
    return [f"group:{pk}" for pk in user.groups.order_by("pk").values_list("pk", flat=True)]


def never_run(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Return the approved requests that never ran and never will: stale ones, and those of an attempt that is over.

    An approval without a session has no attempt that could be over. Only the newest `MOST_LOOKED_AT` approved requests
    are looked at, and those of the same moment as the last of them, so that the number costs the same however many
    there are.
    """
    last = rows.unconsumed().order_by("-settled_at").values("settled_at")[MOST_LOOKED_AT - 1 : MOST_LOOKED_AT]
    # Without so many, all of them are looked at.
    newest = Coalesce(Subquery(last), Value(datetime.min.replace(tzinfo=UTC)), output_field=DateTimeField())
    going_on = Subject.objects.filter(session=OuterRef("session"), attempt=OuterRef("attempt"), closed_at=None)
    over = Q(session__isnull=False) & ~Exists(going_on)
    return rows.unconsumed().filter(Q(stale_at__isnull=False) | over, settled_at__gte=newest)


def waiter_count(rows: ApprovalQuerySet) -> int:
    """Count the live waiters of all pending ones among these: held calls, and children over their connection."""
    pending = rows.pending().order_by()
    blocked = pending.filter(_is_connected(), via=RequestVia.CONNECTION).count() if _is_connected is not None else 0
    return blocked + Waiter.objects.filter(approval__in=pending.values("pk"), lease_until__gt=database_now()).count()


def with_overdue(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """Annotate `is_overdue`: pending past its deadline, by the database's clock."""
    overdue = When(Q(status=Status.PENDING, expires_at__lte=database_now()), then=Value(True))
    return rows.annotate(  # type: ignore[no-redef]
        is_overdue=Case(overdue, default=Value(False), output_field=BooleanField())
    )
