"""A question to a session, and where it stands: answered, pending, or ended with nobody left to answer."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from accounts.models import Credential, CredentialKind, Project
from core.web import problems
from core.web.problems import Problem
from ledger import quota, unit_of_work
from mailbox import delivery, questions
from mailbox.addresses import ANSWERS
from mailbox.envelope import NewMessage
from mailbox.models import Message
from mailbox.schemas import asked
from orchestration.models import Session
from orchestration.sessions import access, messages, transitions
from orchestration.states import TERMINAL


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """A question that is durable: whom it was put to, the id that finds its answer, and whether it was put before."""

    project_id: UUID
    session_id: UUID
    id: str
    is_repeated: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Where an ask stands: its answer if there is one, and how its session is."""

    ask: Ask
    session_status: str
    reply: Message | None

    @property
    def status(self) -> str:
        """*ended*: the session is over, and without a new attempt of it nobody will answer."""
        if self.reply is not None:
            return "answered"
        return "ended" if self.session_status in TERMINAL else "pending"


def ask(
    project: Project,
    session_id: UUID,
    question: NewMessage,
    actor: Actor,
    *,
    now: datetime | None = None,
) -> Ask:
    """Put the question into the session's mailbox, in its turn. Raises 404, 422, 409 `not-running` when the session is
    over (a question alone starts nothing), and 429 when too many wait there.

    The same id again is the same question, whatever became of the session since; another question under it is a 409.
    """
    message = messages.signed(question, actor) if actor.session else question
    with unit_of_work.transaction():
        transitions.fence(actor)
        session = Session.objects.select_for_update(no_key=True).filter(pk=session_id, project=project).first()
        if session is None:
            raise problems.not_found()
        if actor.session is not None:
            quota.keep(actor.session, question.body)
        known = questions.find(project.pk, session.address, message.id or "")
        if known is None and session.is_terminal:
            detail = f"The session is {session.status}: nobody is there to answer."
            raise problems.conflict(detail, "not-running", session_status=session.status)
        if known is None:
            messages.make_room(session)
        (delivered,) = delivery.deliver(project.pk, session.address, [message], internal=True, now=now)
    return Ask(project.pk, session_id, delivered.id, is_repeated=delivered.duplicate)


def keyed(credential: Credential, session_id: UUID, key: str) -> str:
    """The id of the ask that a caller's `Idempotency-Key` means: the same key asks the same question again."""
    return questions.new_id(hashlib.sha256(f"{credential.pk}/{session_id}/{key}".encode()).hexdigest())


def other_body(refusal: Problem) -> Problem:
    """What a caller is told whose `Idempotency-Key` was used with another question."""
    if refusal.type != "conflict":
        return refusal
    errors = [{"field": "Idempotency-Key", "detail": "was used with another body"}]
    return problems.invalid(errors, "This key means another call.")


def find(credential: Credential, session_id: UUID, ask_id: str) -> Ask:
    """An ask that this caller may know the answer of. 404 for every other: also one that another session sent over its
    line, for it is answered in that session's mailbox. A child's token knows those that its own session made.
    """
    session = access.readable(credential, session_id)
    found = questions.find(session.project_id, session.address, ask_id)
    if found is None or questions.reply_address(found) != ANSWERS:
        raise problems.not_found()
    mine = found.sender_session == credential.subject and not found.claimed_sender
    if credential.kind == CredentialKind.CHILD and not mine:
        raise problems.not_found()
    return Ask(session.project_id, session_id, ask_id)


def look(ask: Ask) -> Standing:
    """How it stands now. The session first: an answer that came before its end is there by then."""
    status = Session.objects.values_list("status", flat=True).get(pk=ask.session_id)
    return Standing(ask, status, questions.answer_to(ask.project_id, ask.id))


def topics(ask: Ask) -> tuple[str, str]:
    """What is nudged when its standing may have changed: the answer, and the session's own end."""
    return questions.topic(ask.project_id, ask.id), transitions.over(ask.session_id)


def shape(standing: Standing) -> dict[str, Any]:
    """`{status, ask_id, session_status}`, and the answer when there is one."""
    ended = {"status": standing.status, "session_status": standing.session_status}
    return {**asked(standing.ask.id, standing.reply), **ended}
