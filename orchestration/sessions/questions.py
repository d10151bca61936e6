"""Ask a session a question, and report its state: answered, pending, or ended without an answer."""

from __future__ import annotations

import dataclasses
import hashlib
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
from mailbox.schemas import answer as reply_fields
from orchestration.models import Session
from orchestration.sessions import access, lifecycle, messages, transitions
from orchestration.sessions.schemas import AskShape
from orchestration.states import TERMINAL


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """A durable question: its session, the id that finds its answer, and whether it was asked before."""

    project_id: UUID
    session_id: UUID
    id: str
    is_repeated: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class AskState:
    """The current state of an ask: its answer, if there is one, and the status of its session."""

    ask: Ask
    session_status: str
    reply: Message | None

    @property
    def status(self) -> str:
        """Return the state. `ended`: the session is over, and only a new attempt of it could answer."""
        if self.reply is not None:
            return "answered"
        return "ended" if self.session_status in TERMINAL else "pending"


def ask(project: Project, session_id: UUID, question: NewMessage, actor: Actor) -> Ask:
    """Deliver the question to the session's mailbox. Raises 404, 422, 409 and 429.

    409 `not-running`: the session is over, because a question alone starts nothing. 429: too many questions wait there.

    The same id again is the same question, even if the session has changed since. Another question under that id raises
    409.
    """
    message = messages.signed(question, actor) if actor.session else question
    with unit_of_work.transaction():
        transitions.fence(actor)
        session = lifecycle.own(project, session_id)
        if actor.session is not None:
            quota.keep(actor.session, question.body)
        known = questions.find(project.pk, session.address, message.id or "")
        if known is None and session.is_terminal:
            detail = f"The session is {session.status} and cannot answer. A task or a retry starts it again."
            raise problems.conflict(detail, "not-running", session_status=session.status)
        if known is None:
            messages.refuse_if_full(session)
        (delivered,) = delivery.deliver(project.pk, session.address, [message], internal=True)
    return Ask(project.pk, session_id, delivered.id, is_repeated=delivered.duplicate)


def keyed(credential: Credential, session_id: UUID, key: str) -> str:
    """Return the ask id of a caller's `Idempotency-Key`. The same key asks the same question again."""
    return questions.new_id(hashlib.sha256(f"{credential.pk}/{session_id}/{key}".encode()).hexdigest())


def other_body(refusal: Problem) -> Problem:
    """Return the refusal of an `Idempotency-Key` that was used with another question."""
    if refusal.type != "conflict":
        return refusal
    errors = [{"field": "Idempotency-Key", "detail": "was used with another body"}]
    return problems.invalid(errors, "This key belongs to another call.")


def find(credential: Credential, session_id: UUID, ask_id: str) -> Ask:
    """Return an ask if this caller may read its answer. Raises 404 for every other ask.

    An ask that a session sent over its connection is excluded: its answer goes to that session's mailbox. A child's
    token finds only the asks of its own session.
    """
    session = access.readable(credential, session_id)
    found = questions.find(session.project_id, session.address, ask_id)
    if found is None or questions.reply_address(found) != ANSWERS:
        raise problems.not_found()
    is_own = found.sender_session == credential.subject and not found.claimed_sender
    if credential.kind == CredentialKind.CHILD and not is_own:
        raise problems.not_found()
    return Ask(session.project_id, session_id, ask_id)


def current_state(ask: Ask) -> AskState:
    """Return the current state. Read the session first: an answer that came before its end is then visible."""
    status = Session.objects.values_list("status", flat=True).get(pk=ask.session_id)
    return AskState(ask, status, questions.answer_to(ask.project_id, ask.id))


def topics(ask: Ask) -> tuple[str, str]:
    """Return the wake-up topics for a change of state: the answer, and the end of the session."""
    return questions.topic(ask.project_id, ask.id), transitions.over(ask.session_id)


def shape(state: AskState) -> AskShape:
    """Return the state of the ask, and the answer when there is one."""
    answer, sender, at = reply_fields(state.reply)
    return AskShape(
        status=state.status,
        ask_id=state.ask.id,
        session_status=state.session_status,
        answer=answer,
        answered_at=at,
        from_=sender,
    )
