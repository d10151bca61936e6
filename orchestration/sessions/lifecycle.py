"""Start, end, suspend and retry an attempt. Each operation is one transaction.

Several callers may run an operation at once: the connection, the supervisor, a sweeper, staff. The guarded UPDATE in
`transitions` lets the first one through. The others learn that the attempt was over.
"""

import functools
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models.functions import Coalesce

from accounts.actors import Actor
from accounts.models import Project
from approvals.grants import endings
from approvals.plans import endings as plan_endings
from core.db.clock import database_now
from core.limits import LIMITS
from core.web import problems
from ledger import unit_of_work
from orchestration.models import Attempt, Session
from orchestration.places import turns
from orchestration.sessions import completion, roles, transitions, waits
from orchestration.sessions.transitions import StaleState, move, new_attempt, requeue
from orchestration.sessions.truncate import cut
from orchestration.sessions.waits import Wait
from orchestration.states import TERMINAL, Runner, Status

__all__ = [
    "StaleState",
    "Wait",
    "fail",
    "finish",
    "give_up",
    "move",
    "new_attempt",
    "requeue",
    "retry",
    "started",
    "stopped_with_server",
    "suspend",
    "wait",
]  # fmt: skip

STOPPED = "stopped with the server"


def started(session_id: UUID, attempt: int) -> bool:
    """Record the first frame of the child: starting -> running. Return True while this attempt is the running one."""
    with unit_of_work.transaction():
        try:
            session = move(session_id, attempt, Status.RUNNING, started_at=Coalesce("started_at", database_now()))
        except StaleState:
            return Session.objects.filter(pk=session_id, attempt=attempt, status=Status.RUNNING).exists()
        Attempt.objects.filter(session=session_id, number=attempt).update(running_at=database_now())
        completion.begin(session, attempt)
        return True


def finish(
    session_id: UUID,
    attempt: int,
    status: Status | str,
    *,
    result: str | None = None,
    error: str | None = None,
    kill_in: float | None = None,
    out_of: Collection[Status] = transitions.OPEN,
) -> bool:
    """End the session with this attempt: state, attempt, tokens, approvals, completion and events in one transaction.

    Return False when it was already over or the attempt is not the current one: a late report changes nothing. The
    process has `kill_in` seconds (by default the grace of a cancel) to exit by itself. An error that is too long is
    cut, with a mark. Raises Problem 422 for a result that is too long.
    """
    most = LIMITS.max_result_bytes
    if result is not None and len(result.encode()) > most:
        raise problems.invalid([{"field": "result", "detail": f"is longer than {most} bytes"}])
    error = None if error is None else cut(error, LIMITS.max_error_bytes, "")
    to = Status(status)
    if to not in TERMINAL:
        raise ValueError(f"{to} is not a terminal status.")
    grace = LIMITS.cancel_grace_secs if kill_in is None else kill_in
    with unit_of_work.transaction():
        try:
            changes = {"result": result, "error": error}
            session = move(session_id, attempt, to, out_of=out_of, reason=error or "", **changes)
        except StaleState:
            return False
        transitions.end(session, attempt, to, error or "", kill_in=grace)
        if not session.restart:
            endings.end_with_session(session.pk)
            plan_endings.end_with_session(session.pk)
        if not (session.restart and to == Status.CANCELLED):
            completion.complete(session, attempt)
        if session.restart:
            requeue(session_id, attempt, "interrupted by a message", out_of=TERMINAL)
        elif session.parent_id:
            unit_of_work.after_commit(functools.partial(waits.resume_if_due, session.parent_id))
        return True


def fail(session_id: UUID, attempt: int, reason: str) -> bool:
    """Handle a lost attempt: retry if a retry is left, else give up. Return False when it was already over."""
    with unit_of_work.transaction():
        try:
            requeue(session_id, attempt, reason, spend_retry=True)
            return True
        except StaleState:
            return give_up(session_id, attempt, reason)


def give_up(session_id: UUID, attempt: int, reason: str) -> bool:
    """End in error without a report of the child, or as cancelled when a cancel was requested."""
    asked = Session.objects.filter(pk=session_id, attempt=attempt).exclude(cancel_requested_at=None)
    why = asked.values_list("cancel_reason", flat=True).first()
    end, error = (Status.ERROR, reason) if why is None else (Status.CANCELLED, why)
    return finish(session_id, attempt, end, error=error, kill_in=0)


def stopped_with_server(session_id: UUID, attempt: int) -> bool:
    """Handle an attempt that was ended by a clean stop of the server."""
    return fail(session_id, attempt, STOPPED)


def suspend(session_id: UUID, attempt: int, wait: Wait | None = None) -> bool:
    """Move running -> suspended: end the attempt; the next one begins when the wait is over.

    Without `wait`, use the wait that `POST .../wait` recorded, else wait for every child that is not over now. When
    nothing is left to wait for, queue the session again in the same transaction. When a cancel was requested, end it
    instead. Return False when the attempt was already over.
    """
    with unit_of_work.transaction():
        try:
            session = move(session_id, attempt, Status.SUSPENDED)
        except StaleState:
            return False
        if wait is not None or session.waiting_for is None:
            session = waits.record(session, wait or Wait())
        grace = LIMITS.cancel_grace_secs
        transitions.end(session, attempt, Status.SUSPENDED, "", kill_in=grace)
        if session.cancel_requested_at:
            return _end_suspended(session, session.cancel_reason)
        waits.resume_if_over(session)
        return True


def wait(project: Project, session_id: UUID, wanted: Wait, actor: Actor) -> Session:
    """Record the wait of the running attempt. A child may record only its own. Raises 404, 409 `not-running`, 422."""
    with unit_of_work.transaction():
        session = own(project, session_id)
        if actor.kind == "child" and actor.attempt != session.attempt:
            raise problems.conflict(f"Attempt {actor.attempt} is over.", "not-running")
        if session.status != Status.RUNNING:
            raise problems.conflict(f"The session is {session.status}: no attempt of it is running.", "not-running")
        return waits.record(session, wanted)


def stop(session: Session, reason: str, *, restart: bool = False) -> None:
    """Record a stop request, and end a session that does not run. The caller's transaction holds its row.

    With `restart` only the attempt is stopped: the next attempt begins when it ends.
    """
    request_stop(session, reason, restart=restart)
    if session.status == Status.SUSPENDED:
        _end_suspended(session, reason)
    elif does_not_run(session):
        finish(session.pk, session.attempt, Status.CANCELLED, error=reason, kill_in=0)


def request_stop(session: Session, reason: str, *, restart: bool = False) -> None:
    """Record a stop request and wake the session's connection. The caller's transaction holds its row."""
    queryset = Session.objects.filter(pk=session.pk)
    queryset.update(restart=restart)
    if queryset.filter(cancel_requested_at=None).update(cancel_requested_at=database_now(), cancel_reason=reason):
        payload = {"reason": reason}
        unit_of_work.event(
            session.project_id, "session_cancelling", payload, session=session.pk, attempt=session.attempt
        )
        unit_of_work.wake(f"session:{session.pk}")


def _end_suspended(session: Session, reason: str) -> bool:
    """Cancel a session between two attempts. The earlier attempt keeps its own end."""
    here = {Status.SUSPENDED}
    return finish(session.pk, session.attempt, Status.CANCELLED, error=reason, out_of=here)


def does_not_run(session: Session) -> bool:
    """Return whether the session has no child that could be told to stop."""
    if session.status == Status.STARTING:
        return session.runner == Runner.EXTERNAL
    return session.status in (Status.QUEUED, Status.SUSPENDED)


def retry(project: Project, session_id: UUID, actor: Actor) -> Session:
    """Start a finished session again, with the same assignment. Raises 404, 409, 429."""
    with unit_of_work.transaction():
        transitions.fence(actor)
        session = own(project, session_id)
        if not session.is_terminal:
            raise problems.conflict(f"The session is {session.status}: only one that is over can be retried.")
        unit_of_work.audit(project.pk, actor, "session.retry", str(session_id), {"attempt": session.attempt + 1})
        turns.refuse_if_full(project.pk, session.runner)
        roles.restrain(session, actor)
        return requeue(session_id, session.attempt, f"retried by {actor.name}", out_of=TERMINAL)


def own(project: Project, session_id: UUID) -> Session:
    """Lock and return the project's session. Raises 404 for a foreign or an unknown one."""
    found = Session.objects.select_for_update(no_key=True).filter(pk=session_id, project=project).first()
    if found is None:
        raise problems.not_found()
    return found


def as_wait(wait_for: str | None, children: list[Any] | None, timeout_secs: int | None) -> Wait | None:
    """Return the wait of a terminal frame, or None when it names none. Raises Problem 422."""
    if wait_for is None and children is None and timeout_secs is None:
        return None
    try:
        named = None if children is None else [UUID(str(child)) for child in children]
    except ValueError:
        raise problems.invalid([{"field": "children", "detail": "must be a list of session ids"}]) from None
    return Wait(wait_for=wait_for or "all", children=named, timeout_secs=timeout_secs)
