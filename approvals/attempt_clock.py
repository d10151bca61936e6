"""Keep the clock of one (session, attempt).

The clock opens with the attempt, stops while the attempt waits for a person, and closes with the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Case, DateTimeField, DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, When
from django.db.models.functions import Coalesce

from accounts.actors import Actor
from approvals import audit_events
from approvals.models import Approval, Subject
from approvals.states import CancelReason, RequestVia, Status, sources
from core.db.clock import database_now, later
from core.db.compiled import CompiledUpdates
from core.limits import LIMITS
from core.web import problems
from ledger import sweep_batch, unit_of_work
from ledger.outages import STEP_SECS
from ledger.sweep_batch import Work

RETRY_SECS = 5
CHANGED: CompiledUpdates[Subject] = CompiledUpdates()
LEFT = Work("approvals_expiry_sweep", "left by an end")


class Clock(NamedTuple):
    """The state of one attempt's clock.

    `pending` counts the asks over the connection. `waiting_since` is None while the clock runs. `waited_secs` is the
    time waited before `waiting_since`. `last_settled_at` is the time of the last settled ask.
    """

    pending: int
    waiting_since: datetime | None
    waited_secs: float
    last_settled_at: datetime | None


def open(project_id: Any, session_id: UUID, attempt: int) -> None:
    """Let this attempt ask. Opening it again changes nothing."""
    with unit_of_work.transaction():
        Subject.objects.get_or_create(session=session_id, attempt=attempt, defaults={"project_id": project_id})


def clock(session_id: UUID, attempt: int) -> Clock:
    """Return the clock of an attempt. An attempt that was never opened has waited for nothing."""
    subject = Subject.objects.filter(session=session_id, attempt=attempt).first()
    if subject is None:
        return Clock(0, None, 0.0, None)
    return Clock(subject.pending, subject.waiting_since, subject.waited.total_seconds(), subject.last_settled_at)


def waits_within(session_id: UUID, attempt: int, since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """Return the periods between two moments in which the attempt waited for a person over the connection.

    The periods may overlap.
    """
    asked = Approval.objects.of(session_id, attempt).filter(via=RequestVia.CONNECTION, requested_at__lt=until)
    found = asked.filter(Q(settled_at=None) | Q(settled_at__gt=since)).values_list("requested_at", "settled_at")
    return [(began, ended or until) for began, ended in found]


def mend_future() -> int:
    """Repair the clocks after the database's clock was set back: no open wait may begin in the future.

    Return the number of repaired times.
    """
    going_on = Subject.objects.filter(closed_at__isnull=True)
    moved = 0
    for column in ("waiting_since", "last_settled_at"):
        future = {f"{column}__gt": later(STEP_SECS)}
        for pk in list(going_on.filter(**future).values_list("pk", flat=True)):
            moved += going_on.filter(pk=pk, **future).update(**{column: database_now()})
    return moved


def current_attempt(project_id: Any, session_id: UUID) -> int:
    """Return the number of the attempt that may ask now.

    Raises not-found for a session without an attempt in this project, and not-running when the attempt is over.
    """
    found = Subject.objects.filter(project_id=project_id, session=session_id).order_by("-attempt").first()
    if found is None:
        raise problems.not_found()
    if found.closed_at is not None:
        raise over(session_id)
    return found.attempt


def over(session_id: Any) -> problems.Problem:
    """Build the refusal for an attempt that has ended."""
    return problems.conflict(f"No attempt of session {session_id} is running.", "not-running")


def is_open(session_id: UUID, attempt: int) -> bool:
    """Return True if this attempt may still act. Its row stays locked until the caller's transaction ends."""
    rows = Subject.objects.select_for_update().filter(session=session_id, attempt=attempt)
    return rows.filter(closed_at__isnull=True).first() is not None


def is_over(session_id: UUID, attempt: int) -> bool:
    """Return True if this attempt has ended. Takes no lock."""
    return Subject.objects.filter(session=session_id, attempt=attempt, closed_at__isnull=False).exists()


def wait_begins(project_id: Any, session_id: UUID, attempt: int, via: str) -> None:
    """Count one more pending ask. Raises not-found, not-running or too-many.

    Call it in the transaction that inserts the approval: the row lock keeps `settle` out until the ask is committed.
    """
    values = {"project": project_id, "session": session_id, "attempt": attempt}
    most = {"most": LIMITS.pending_approvals_per_attempt}
    over_connection = via == RequestVia.CONNECTION

    def build(values: Any) -> Any:
        free = _subjects(values).alias(total=F("pending") + F("pending_aside")).filter(total__lt=values["most"])
        rows = free.filter(closed_at__isnull=True)
        if not over_connection:
            return rows, {"pending_aside": F("pending_aside") + 1}
        since = Coalesce(F("waiting_since"), database_now(), output_field=DateTimeField())
        return rows, {"pending": F("pending") + 1, "waiting_since": since}

    if CHANGED.run(("begins", over_connection), values | most, build):
        return
    subject = _subjects(values).first()
    if subject is None:
        raise problems.not_found()
    if subject.closed_at is not None:
        raise over(session_id)
    raise problems.too_many("Too many approvals are already pending for this attempt.", RETRY_SECS)


def wait_ends(approval: Approval) -> None:
    """Count one pending ask less. The last one over the connection starts the clock again."""
    if approval.session is None or approval.attempt is None:
        return
    over_connection = approval.via == RequestVia.CONNECTION

    def build(values: Any) -> Any:
        subjects = Subject.objects.filter(**values, closed_at__isnull=True)
        if not over_connection:
            return subjects.filter(pending_aside__gt=0), {"pending_aside": F("pending_aside") - 1}
        at, last = database_now(), {"pending__lte": 1}
        since = Case(When(**last, then=None), default=F("waiting_since"), output_field=DateTimeField(null=True))
        return subjects.filter(pending__gt=0), {
            "pending": F("pending") - 1,
            "waited": _waited(at, **last),
            "waiting_since": since,
            "last_settled_at": at,
        }

    CHANGED.run(("ends", over_connection), {"session": approval.session, "attempt": approval.attempt}, build)


def settle(session_id: UUID, attempt: int, reason: str = CancelReason.ATTEMPT_ENDED) -> int:
    """Close the subject, cancel its pending approvals and return their number. Joins the caller's transaction.

    An ask that is being committed right now holds the subject's row. The order of locks is approval, then subject, so
    this function looks for pending approvals once before it takes the subject's row and once after. The second look
    skips locked rows: another transaction is deciding them. That decision settles them, or `settle_left` does if it is
    rolled back.
    """
    with unit_of_work.transaction():
        cancelled = _cancel_pending(session_id, attempt, reason, skip_locked=False)
        subjects = Subject.objects.filter(session=session_id, attempt=attempt, closed_at__isnull=True)
        at = database_now()
        settled = Case(When(waiting_since__isnull=False, then=at), default=F("last_settled_at"))
        settled.output_field = DateTimeField()
        if subjects.update(
            closed_at=at,
            pending=0,
            pending_aside=0,
            waited=_waited(at),
            waiting_since=None,
            last_settled_at=settled,
        ):
            cancelled += _cancel_pending(session_id, attempt, reason, skip_locked=True)
        for approval in cancelled:
            audit_events.record_change(approval, "cancelled", Actor.system("approvals"), reason=str(reason))
        return len(cancelled)


def settle_left(limit: int = 200) -> int:
    """Sweeper: settle attempts that ended and still have pending approvals. Return the number of approvals.

    Such rows remain when the transaction that was deciding at the second look of `settle` was rolled back or died.
    """
    closed = Subject.objects.filter(session=OuterRef("session"), attempt=OuterRef("attempt"), closed_at__isnull=False)
    left = Approval.objects.pending().filter(Exists(closed)).order_by("session", "attempt")
    found = left.filter(session__isnull=False, attempt__isnull=False).values_list("session", "attempt").distinct()
    act: Callable[[Any], int] = lambda row: settle(*row)  # noqa: E731
    return sweep_batch.each(LEFT, lambda most: found[:most], act, limit=limit)


def _subjects(values: Any) -> Any:
    names = {"project_id": values["project"], "session": values["session"], "attempt": values["attempt"]}
    return Subject.objects.filter(**names)


def _cancel_pending(session_id: UUID, attempt: int, reason: str, *, skip_locked: bool) -> list[Approval]:
    pending = Approval.objects.of(session_id, attempt).pending()
    ids = list(pending.order_by("id").select_for_update(skip_locked=skip_locked).values_list("id", flat=True))
    if ids:
        Approval.objects.filter(id__in=ids, status__in=sources(Status.CANCELLED)).update(
            status=Status.CANCELLED, cancel_reason=reason, settled_at=database_now()
        )
    return list(Approval.objects.filter(id__in=ids, status=Status.CANCELLED).order_by("requested_at", "id"))


def _waited(at: Any, **when: Any) -> Case:
    """Return the SQL for `waited` plus the wait that ends now.

    A wait that seems to begin in the future counts as zero: the clock was set back, so its length is unknown.
    """
    longer = ExpressionWrapper(F("waited") + (at - F("waiting_since")), output_field=DurationField())
    return Case(When(waiting_since__lte=at, **when, then=longer), default=F("waited"))
