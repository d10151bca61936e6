"""A question and its one answer. Both are messages, and the answer's id is derived from the question's id.

An ask is a message like any other. Its answer goes to the mailbox of the session that sent it. If the sender reads no
mailbox, the answer goes to `wardroom:answers`, where it is found by the ask's id as long as admitted messages are kept.
The id is Wardroom's own, so no other sender can use it, and there is only one answer.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any
from uuid import UUID

from core.display import names
from core.limits import LIMITS
from core.web import faults, problems
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import addresses, delivery, envelope, message_kinds
from mailbox.addresses import ANSWERS, OWN
from mailbox.envelope import NewMessage
from mailbox.models import Message, Waiting
from mailbox.states import ASK_MODES
from mailbox.store import pending, receipts
from mailbox.store.insert import Delivered

#: The prefix of asks made by the operation `ask`. Its caller waits for the answer, and has no mailbox for it.
ASKED = f"{OWN}ask:"


def question(text: str, mode: str = "query", *, id: str | None = None) -> NewMessage:
    """Return the ask as a message, with its id as its correlation id. 422 for an invalid question."""
    errors = []
    most = LIMITS.max_question_bytes
    if not isinstance(text, str) or not text.strip():
        errors.append(faults.wrong("question", text, message_kinds.QUESTION))
    elif len(text.encode(errors="replace")) > most:
        errors.append({"field": "question", "detail": f"must be at most {most} bytes, and is longer"})
    if mode not in ASK_MODES:
        errors.append(faults.wrong("mode", mode, faults.one_of(ASK_MODES)))
    if errors:
        raise problems.invalid(errors, "That is not a question.")
    name = id or str(uuid.uuid4())
    return NewMessage(id=name, message_kind="ask", body={"question": text, "mode": mode}, correlation_id=name)


def new_id(seed: str | None = None) -> str:
    """Return an id for an ask that no other sender can use. The same seed gives the same id."""
    return f"{ASKED}{uuid.uuid5(uuid.NAMESPACE_OID, seed) if seed else uuid.uuid4()}"


def find(project_id: UUID, address: str, ask_id: str) -> Message | None:
    """Return the ask with this id at this address, or None if there is none or it was pruned."""
    if not names.is_name(ask_id, envelope.LONGEST_ID):
        return None
    asks = Message.objects.filter(project_id=project_id, address__name=address, message_kind="ask")
    return asks.filter(message_id=ask_id).first()


def count_open(project_id: UUID, address: str, most: int) -> int:
    """Count the asks that wait at this address to be taken, up to `most`."""
    waiting = Waiting.objects.filter(address__project_id=project_id, address__name=address)
    return waiting.filter(message__message_kind="ask")[:most].count()


def reply_address(ask: Message) -> str:
    """Return the address of its answer. A sender that is only claimed has no effect."""
    proven = ask.sender_session and not ask.claimed_sender
    if proven and not ask.message_id.startswith(ASKED):
        return addresses.session_address(UUID(ask.sender_session))
    return ANSWERS


def about(ask: Message) -> str:
    """Return the correlation id of its answer. The asker knows the answer by it."""
    return ask.correlation_id or ask.message_id


def answer(
    ask: Message, body: Any, *, sender_session: UUID | str | None = None, sender_role: str | None = None
) -> Delivered:
    """Answer the ask once. The same answer again is no error; another one raises 409 `already-answered` and changes
    nothing.

    The caller must have checked that the sender of the answer is the one that was asked.
    """
    message = NewMessage(
        id=answer_id(ask.project_id, ask.message_id),
        message_kind="reply",
        body=body,
        correlation_id=about(ask),
        sender_session=sender_session,
        sender_role=sender_role,
    )
    address = reply_address(ask)
    with unit_of_work.transaction():
        try:
            (delivered,) = delivery.deliver(ask.project_id, address, [message], internal=True)
        except Problem as refusal:
            if refusal.type != "conflict":
                raise
            raise problems.conflict(
                "This ask has been answered; the first answer stands.", "already-answered"
            ) from None
        if address == ANSWERS:
            # No reader drains this address. Admit the answer at once, so that retention deletes it later.
            # An answer that was there already may have been deleted since.
            kept = Message.objects.filter(project_id=ask.project_id, message_id=delivered.id)
            keys = list(kept.values_list("pk", flat=True))
            receipts.note(pending.remove(ask.project_id, address, keys))
        unit_of_work.wake(topic(ask.project_id, ask.message_id))
    return delivered


def answer_to(project_id: UUID, ask_id: str) -> Message | None:
    """Return the answer to an ask, or None so far."""
    return Message.objects.filter(project_id=project_id, message_id=answer_id(project_id, ask_id)).first()


def answer_id(project_id: UUID, ask_id: str) -> str:
    """Return the id of the one answer to this ask."""
    return f"{OWN}answer:{_digest(project_id, ask_id)}"


def topic(project_id: UUID, ask_id: str) -> str:
    """Return the topic of the wake-up that is sent when the answer is there."""
    return f"ask:{_digest(project_id, ask_id)}"


def _digest(project_id: UUID, ask_id: str) -> str:
    # An ask's id may have the full length of an id, so a prefix would not fit.
    return hashlib.sha256(f"{project_id}/{ask_id}".encode()).hexdigest()
