"""Send a message to a session, and report its outcome."""

import dataclasses
import enum
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from accounts.models import Project
from core.limits import LIMITS
from core.web import problems
from ledger import quota, unit_of_work
from mailbox import delivery, questions, session_inbox
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration import presence
from orchestration.models import Attempt, Session
from orchestration.places import turns
from orchestration.sessions import access, lifecycle, roles, transitions, waits
from orchestration.states import TERMINAL, Status

#: Kinds that ask for work. They start a session that is over; an answer does not.
STARTING_KINDS = frozenset({"task", "ask", "handoff"})
RETRY_SECS = 5


class Outcome(enum.StrEnum):
    """The outcome that a sender is told."""

    DELIVERED_LIVE = "delivered_live"
    QUEUED = "queued"
    STARTED = "started"
    PENDING = "pending"


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """A durable message, and its outcome."""

    id: str
    outcome: Outcome


def send(
    project: Project,
    session_id: UUID,
    message: NewMessage,
    actor: Actor,
    *,
    interrupt: bool = False,
    answers: Message | None = None,
) -> Sent:
    """Deliver a message to the session's mailbox, in one transaction with its effects. Raises 404, 409, 422, 429.

    `interrupt` asks a running attempt to stop; the next attempt begins at its end and reads the message.

    An answer to an ask of this session is the one answer, whatever its id. A second one raises `already-answered`.

    The same id again is the same message: it is not stored twice, and does not start a session that has read it. The
    outcome then describes the session now, not at the first call.
    """
    with unit_of_work.transaction():
        if actor.session is not None:
            transitions.lock_in_order({session_id, actor.session})
        transitions.fence(actor)
        session = lifecycle.own(project, session_id)
        if actor.session is not None:
            quota.keep(actor.session, message.body)
        if message.message_kind == "ask" and not questions.find(project.pk, session.address, message.id or ""):
            refuse_if_full(session)
        if answers:
            delivered = questions.answer(
                answers, message.body, sender_session=message.sender_session, sender_role=message.sender_role
            )
        else:
            (delivered,) = delivery.deliver(project.pk, session.address, [message])
        if delivered.duplicate:
            unread = session_inbox.unadmitted(project.pk, session.address, after_seq=delivered.seq - 1, limit=1)
            if not unread or unread[0].seq != delivered.seq:
                return Sent(delivered.id, Outcome.PENDING if session.is_terminal else _current_outcome(session))
        outcome = _set_off(session, message, actor, interrupt)
        unit_of_work.wake(f"session:{session.pk}")
        return Sent(delivered.id, outcome)


def refuse_if_full(session: Session) -> None:
    """Refuse one more question when too many are open. Raises 429.

    Call it under the session's lock, so that concurrent questions count each other.
    """
    most = LIMITS.open_asks_per_session
    if questions.count_open(session.project_id, session.address, most) >= most:
        raise problems.too_many(f"{most} questions already wait for this session. Try again later.", RETRY_SECS)


def _set_off(session: Session, message: NewMessage, actor: Actor, interrupt: bool) -> Outcome:
    why = f"a message from {actor.name}"
    if session.is_terminal and message.message_kind in STARTING_KINDS and access.may_start(actor, session):
        turns.refuse_if_full(session.project_id, session.runner)
        roles.restrain(session, actor)
        transitions.requeue(session.pk, session.attempt, f"started by {why}", out_of=TERMINAL)
        return Outcome.STARTED
    if session.is_terminal:
        return Outcome.PENDING
    if interrupt and session.status == Status.SUSPENDED and session.cancel_requested_at is None:
        turns.refuse_if_full(session.project_id, session.runner)
        roles.restrain(session, actor)
        resume: dict[str, Any] = {"reason": "message", "wait_for": None, "children": []}
        waits.resume(session, f"resumed by {why}", resume)
        return Outcome.STARTED
    if interrupt and session.cancel_requested_at is None and not lifecycle.does_not_run(session):
        roles.restrain(session, actor)
        lifecycle.stop(session, f"interrupted by {why}", restart=True)
        return Outcome.QUEUED
    return _current_outcome(session)


def _current_outcome(session: Session) -> Outcome:
    """Return the outcome of a message that changed nothing: a child reads it now or later, or was told to stop."""
    if session.cancel_requested_at is not None:
        return Outcome.QUEUED if session.restart else Outcome.PENDING
    running = Attempt.objects.filter(session=session, number=session.attempt, status=Status.RUNNING)
    return Outcome.DELIVERED_LIVE if running.filter(presence.is_live()).exists() else Outcome.QUEUED


def signed(message: NewMessage, actor: Actor) -> NewMessage:
    """Return the message with the sender that `actor` proves, without the message's own claims about its sender."""
    role = Session.objects.filter(pk=actor.session or UUID(int=0)).values_list("role", flat=True).first()
    return dataclasses.replace(message, sender_session=actor.session, sender_role=role or None, claimed_sender=False)
