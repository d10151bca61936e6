"""The parts of every state change: the one guarded UPDATE, the end of an attempt, and the next attempt.

Locks are taken in this order: session, its attempt and tokens, approvals and their attempt clock, mailbox address,
ledger head. The second caller of a transition finds zero rows to update and gets StaleState.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Coalesce

from accounts import credentials
from accounts.actors import Actor
from approvals import attempt_clock
from approvals.outcomes import unknown as unknown_outcomes
from core.db.clock import database_now, later
from core.web import problems
from core.web.problems import Problem
from ledger import unit_of_work
from orchestration.models import Attempt, Session
from orchestration.sessions import dispatch
from orchestration.states import ENDED, TERMINAL, Runner, Status, sources


class StaleState(Problem):
    """The transition is not allowed, or the attempt is no longer current. Nothing was changed."""

    def __init__(self, session_id: UUID, attempt: int, to: Status) -> None:
        super().__init__(
            "conflict",
            409,
            f"Attempt {attempt} of session {session_id} cannot become {to}: the attempt or its state has changed.",
        )


#: The wake-up of the hosts of runner plug-ins.
QUEUED = "runners"
#: The states of a session with an open attempt.
OPEN = frozenset(Status) - ENDED


def move(
    session_id: UUID,
    attempt: int,
    to: Status,
    *,
    out_of: Collection[Status] = OPEN,
    reason: str = "",
    **changes: Any,
) -> Session:
    """Enter `to`, if the transition is allowed, starts in `out_of`, and the attempt is current. Raises StaleState.

    By default only a session with an open attempt moves. Use `requeue` to enter queued, because that always takes a new
    attempt.
    """
    if to == Status.QUEUED:
        raise ValueError("A session is queued by requeue() alone.")
    if to in TERMINAL:
        changes |= {"finished_at": database_now(), "waiting_for": None, "wait_until": None}
    with unit_of_work.transaction():
        changes["queued_at"] = None
        queryset = Session.objects.filter(pk=session_id, attempt=attempt, status__in=set(sources(to)) & set(out_of))
        if queryset.update(status=to, **changes):
            if to not in ENDED:
                Attempt.objects.filter(session=session_id, number=attempt, ended_at=None).update(status=to)
            return _tell(session_id, to, reason)
    # Outside the block: nothing was changed, and the caller's transaction may go on.
    raise StaleState(session_id, attempt, to)


def requeue(
    session_id: UUID,
    attempt: int,
    reason: str,
    *,
    out_of: Collection[Status] = OPEN,
    spend_retry: bool = False,
    relaunched: bool = False,
    resume: dict[str, Any] | None = None,
) -> Session:
    """Move from one of `out_of` back to queued with attempt n+1, in one transaction. Raises StaleState.

    StaleState is also raised when a retry must be spent and none is left, and when a cancel was requested: a session
    that is being cancelled does not start again.
    """
    fresh: dict[str, Any] = {"result": None, "error": None, "finished_at": None, "waiting_for": None}
    fresh |= {"wait_until": None, "cancel_requested_at": None, "cancel_reason": "", "restart": False}
    fresh["queued_at"] = database_now()
    if spend_retry:
        fresh["retries_left"] = F("retries_left") - 1
    with unit_of_work.transaction():
        queryset = Session.objects.filter(
            Q(cancel_requested_at=None) | Q(status__in=sorted(TERMINAL)),
            pk=session_id,
            attempt=attempt,
            status__in=set(sources(Status.QUEUED)) & set(out_of),
            retries_left__gte=1 if spend_retry else 0,
        )
        if queryset.update(status=Status.QUEUED, attempt=attempt + 1, **fresh):
            session = _tell(session_id, Status.QUEUED, reason)
            end(session, attempt, Status.ERROR, reason, kill_in=0)
            return new_attempt(session, relaunched=relaunched, resume=resume)
    # Outside the block, as in `move`.
    raise StaleState(session_id, attempt, Status.QUEUED)


def new_attempt(session: Session, *, relaunched: bool = False, resume: dict[str, Any] | None = None) -> Session:
    """Open attempt `session.attempt` of a queued session, without a token.

    A process and the job of a runner plug-in get their token when they are claimed. An external child gets it from the
    answer of the spawn or from `POST .../token`.
    """
    Attempt.objects.create(session=session, number=session.attempt, relaunched=relaunched, resume=resume)
    attempt_clock.open(session.project_id, session.pk, session.attempt)
    if session.runner == Runner.PROCESS:
        dispatch.enqueue_launch(session)
    elif session.runner == Runner.EXTERNAL:
        # There is nothing to launch: the attempt waits until its caller starts the child.
        session = move(session.pk, session.attempt, Status.STARTING)
        launched = Attempt.objects.filter(session=session, number=session.attempt)
        launched.update(launched_at=database_now())
        unit_of_work.event(session.project_id, "attempt_ready", session=session.pk, attempt=session.attempt)
    else:
        # A host of this runner claims it. It also looks by itself, in case the wake-up is lost.
        unit_of_work.wake(QUEUED)
    return session


def end(session: Session, number: int, status: Status, reason: str, *, kill_in: float) -> bool:
    """End one attempt for ever: its row, its tokens, its pending approvals. Return False when it had already ended.

    Its supervisor kills the process after `kill_in` seconds, unless the process exits by itself before.
    """
    ended = Attempt.objects.filter(session=session, number=number, ended_at=None).update(
        status=status,
        reason=reason,
        ended_at=database_now(),
        kill_requested_at=Coalesce("kill_requested_at", later(kill_in)),
    )
    if ended:
        credentials.end_for_attempt(session.project_id, str(session.pk), number)
        # Approvals are locked before the row of the clock, as everywhere.
        unknown_outcomes.attempt_ended(session.pk, number, in_order=status in (Status.COMPLETED, Status.SUSPENDED))
        attempt_clock.settle(session.pk, number)
    return bool(ended)


def lock(session_id: UUID) -> Session:
    """Lock the session's row until COMMIT and return it. Raises Session.DoesNotExist.

    Select it by its key alone. PostgreSQL waits only for a row that its snapshot already selects, so check any other
    condition on the returned row.
    """
    return Session.objects.select_for_update(no_key=True).get(pk=session_id)


def lock_in_order(ids: Collection[UUID]) -> dict[UUID, Session]:
    """Lock the rows of several sessions until COMMIT, parents first, in the same order as a cancel locks its tree."""
    rows = Session.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("depth", "pk")
    return {row.pk: row for row in rows}


def fence(actor: Actor) -> None:
    """Refuse a child with an ended attempt. The lock on its session keeps the attempt open until COMMIT.

    Call it inside a transaction, because the token was checked before the transaction began. Call it before every other
    lock, because the sessions that a child steers are below it. Raises 409 `not-running`.
    """
    if actor.session is None:
        return
    Session.objects.select_for_update(no_key=True).filter(pk=actor.session).first()
    if not Attempt.objects.filter(session=actor.session, number=actor.attempt or 0, ended_at=None).exists():
        raise problems.conflict(f"Attempt {actor.attempt} is over.", "not-running")


def _tell(session_id: UUID, status: Status, reason: str) -> Session:
    session = Session.objects.select_related("project").get(pk=session_id)
    payload = {"status": str(status), "reason": reason} if reason else {"status": str(status)}
    unit_of_work.event(session.project_id, f"session_{status}", payload, session=session.pk, attempt=session.attempt)
    if status not in (Status.STARTING, Status.RUNNING):
        # Its connection has to close. The beginning of an attempt gives a connection nothing to send.
        unit_of_work.wake(f"session:{session.pk}")
    if status in TERMINAL:
        unit_of_work.wake(over(session.pk))
    return session


def over(session_id: UUID) -> str:
    """Return the wake-up topic that fires only at the end of a session.

    It is separate because many callers may wait for the end, and many other events happen before it.
    """
    return f"over:{session_id}"
