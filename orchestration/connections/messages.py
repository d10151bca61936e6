"""Messages over a connection: those that the child admits, and those that it sends to others."""

from __future__ import annotations

from uuid import UUID

from core.db.clock import moment
from core.display.names import is_name
from core.web import problems
from ledger import quota, unit_of_work
from mailbox import addresses, delivery, message_kinds, questions, session_inbox
from mailbox.envelope import LONGEST_ID, NewMessage
from mailbox.models import Message as StoredMessage
from orchestration.connections.fencing import Claim, fenced_transaction
from orchestration.models import Session
from orchestration.sessions import access, messages, roles
from wardroom.protocol import Message, Send, Sender

CHUNK = 16


def admit(connection: Claim, ids: list[str]) -> None:
    """Record that these messages entered the agent's history. None is sent again, to this or another attempt (I2)."""
    with fenced_transaction(connection) as session:
        session_inbox.admit(connection.project_id, session.address, ids, connection.attempt)


def waiting(connection: Claim, after_seq: int) -> list[tuple[int, Message]]:
    """Return the next unadmitted messages beyond `after_seq`, oldest first, each with its number.

    Return none if a message interrupts this attempt: the next attempt reads it. The interrupt is read after the
    messages, because the message and its interrupt are one commit.
    """
    address = addresses.session_address(connection.session_id)
    found = session_inbox.unadmitted(connection.project_id, address, after_seq=after_seq, limit=CHUNK)
    if found and Session.objects.filter(pk=connection.session_id, restart=True).exists():
        return []
    return [(message.seq, frame(message)) for message in found]


def frame(message: StoredMessage) -> Message:
    """Return the frame of a message. `text` is for children that read plain text only."""
    return Message(
        id=message.message_id,
        sender=Sender(
            session_id=message.sender_session or None,
            role=message.sender_role or None,
        ),
        message_kind=message.message_kind,
        body=message.body,
        text=message_kinds.text(message.body),
        created_at=moment(message.created_at),
        correlation_id=message.correlation_id or None,
    )


def send(connection: Claim, frame: Send) -> str:
    """Put a message into another mailbox. Return its outcome, as `POST sessions/{id}/messages` does.

    The sender is this session, whatever the frame says. The same id again is the same message.
    """
    own = Session.objects.get(pk=connection.session_id)
    ask = _ask(own, frame)
    if ask is not None and questions.reply_address(ask) == addresses.ANSWERS:
        # It came by REST, not from a mailbox. Its caller waits for the answer or fetches it later.
        if frame.message_kind != "reply":
            raise problems.invalid([{"field": "message_kind", "detail": "must be `reply` to answer an ask"}])
        with fenced_transaction(connection) as session:
            quota.keep(session.pk, frame.body)
            questions.answer(ask, frame.body, sender_session=session.pk, sender_role=session.role or None)
            unit_of_work.wake(f"session:{session.pk}")
        return messages.Outcome.PENDING.value
    address = _address(own, frame, ask)
    target = addresses.session_of(address)
    with fenced_transaction(connection, also=target) as session:
        message = NewMessage(
            id=frame.id,
            message_kind=frame.message_kind,
            body=frame.body,
            correlation_id=questions.about(ask) if ask else frame.correlation_id,
            sender_session=session.pk,
            sender_role=session.role or None,
        )
        if target is not None:
            answers = ask if frame.message_kind == "reply" else None
            sent = messages.send(session.project, target, message, connection.actor, answers=answers)
            return str(sent.outcome)
        quota.keep(session.pk, frame.body)
        delivery.deliver(connection.project_id, address, [message])
        return messages.Outcome.PENDING.value


def _address(session: Session, frame: Send, ask: StoredMessage | None) -> str:
    """Return the target of a send: `to`, or for a reply without `to` the address that its ask names.

    Raises forbidden for an address outside the child's tree and its role's addresses.
    """
    if frame.to:
        try:
            address = addresses.session_address(UUID(frame.to))  # A bare session id means that session's address.
        except ValueError:
            address = addresses.check(frame.to)
    elif ask is not None:
        address = questions.reply_address(ask)
    else:
        detail = "needs `to`, or the `correlation_id` of an ask to this session"
        raise problems.invalid([{"field": "to", "detail": detail}])
    target = addresses.session_of(address)
    allowed = access.in_tree(session.pk, target) if target else address in role_addresses(session)
    if not allowed:
        # An unknown session and one of another tree get the same answer (I11).
        raise problems.forbidden("A child may write to its own tree and to addresses that its role names.")
    return address


def _ask(session: Session, frame: Send) -> StoredMessage | None:
    """Return the ask in this session's mailbox that a send without `to` answers.

    Look for the id of the ask before its correlation id, because anyone may send an ask with another ask's correlation
    id.
    """
    if frame.to or not frame.correlation_id:
        return None
    named = questions.find(session.project_id, session.address, frame.correlation_id)
    if named is not None or not is_name(frame.correlation_id, LONGEST_ID):
        return named
    asked = StoredMessage.objects.filter(
        project_id=session.project_id, address__name=session.address, message_kind="ask"
    )
    return asked.filter(correlation_id=frame.correlation_id).order_by("-seq").first()


def role_addresses(session: Session) -> list[str]:
    """List the plain addresses that the session's role allows it."""
    return list(roles.of(session).get("addresses", []))
