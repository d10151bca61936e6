"""Messages over a line: what the child admits, and what it sends to others."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from accounts import problems
from mailbox import addresses, bodies, delivery, reading
from mailbox.letters import NewMessage
from mailbox.models import Message as Letter
from orchestration import steering
from orchestration.line import Line, held
from orchestration.models import Session
from wardroom.protocol import Message, Send, Sender

CHUNK = 16


def admit(line: Line, ids: list[str], *, now: datetime | None = None) -> None:
    """These messages entered the agent's history: none of them is sent again, to this attempt or another (I2)."""
    with held(line) as session:
        reading.admit(line.project_id, session.address, ids, line.attempt, now=now)


def waiting(line: Line, after_seq: int) -> list[tuple[int, Message]]:
    """The next messages not admitted yet beyond `after_seq`, oldest first, each with its number."""
    address = addresses.session_address(line.session_id)
    letters = reading.unadmitted(line.project_id, address, after_seq=after_seq, limit=CHUNK)
    return [(letter.seq, frame(letter)) for letter in letters]


def frame(letter: Letter) -> Message:
    """A message as it goes over the line; `text` is for children that read nothing else."""
    return Message(
        id=letter.message_id,
        sender=Sender(
            session_id=str(letter.sender_session) if letter.sender_session else None,
            role=letter.sender_role or None,
        ),
        message_kind=letter.message_kind,
        body=letter.body,
        text=bodies.text(letter.body),
        created_at=letter.created_at.isoformat(),
        correlation_id=letter.correlation_id or None,
    )


def send(line: Line, frame: Send, *, now: datetime | None = None) -> str:
    """Put a message into another mailbox; the word of `POST sessions/{id}/messages` for what becomes of it.

    Its sender is this session, whatever the frame says. The same id again is the same message.
    """
    address = _address(Session.objects.get(pk=line.session_id), frame)
    target = addresses.session_of(address)
    with held(line, also=target) as session:
        message = NewMessage(
            id=frame.id,
            message_kind=frame.message_kind,
            body=frame.body,
            correlation_id=frame.correlation_id,
            sender_session=session.pk,
            sender_role=session.role or None,
        )
        if target is not None:
            return str(steering.send(session.project, target, message, line.actor, now=now).outcome)
        delivery.deliver(line.project_id, address, [message], now=now)
        return steering.Outcome.PENDING.value


def _address(session: Session, frame: Send) -> str:
    """Where a send goes: a reply without `to` back to where its ask came from, all else where the child may write."""
    address = _as_address(frame.to) if frame.to else _asked_from(session, frame)
    target = addresses.session_of(address)
    allowed = _in_tree(session, target) if target else address in role_addresses(session)
    if not allowed:
        # A session that is not there and one of another tree look the same (I11).
        raise problems.forbidden("A child may write to its own tree and to addresses that its role names.")
    return address


def _as_address(to: str) -> str:
    """An address as it stands; a bare session id means that session's."""
    try:
        return addresses.session_address(UUID(to))
    except ValueError:
        return addresses.check(to)


def _asked_from(session: Session, frame: Send) -> str:
    asked = Letter.objects.filter(
        project_id=session.project_id,
        address__name=session.address,
        message_kind="ask",
        sender_session__isnull=False,
    )
    found = asked.filter(Q(correlation_id=frame.correlation_id) | Q(message_id=frame.correlation_id))
    ask = found.order_by("-seq").first() if frame.correlation_id else None
    if ask is None or ask.sender_session is None:
        detail = "needs `to`, or the `correlation_id` of an ask that a session sent here"
        raise problems.invalid([{"field": "to", "detail": detail}])
    return addresses.session_address(ask.sender_session)


def _in_tree(session: Session, target: UUID) -> bool:
    return Session.objects.filter(pk=target, root=session.root, project_id=session.project_id).exists()


def role_addresses(session: Session) -> list[str]:
    """The plain addresses that the session's role names."""
    roles: dict[str, dict[str, list[str]]] = settings.WARDROOM.get("roles", {})
    return list(roles.get(session.role, {}).get("addresses", []))
