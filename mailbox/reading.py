"""Reading a session's address: its live line sends what is not admitted yet, and says when it is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from ledger import journal
from mailbox import moves, receipts
from mailbox.models import Message, Waiting
from mailbox.sql import Fragment
from mailbox.states import MessageState

MOST = 1000


def unadmitted(project_id: UUID, address: str, after_seq: int = 0, limit: int = 100) -> list[Message]:
    """What the agent has not taken in yet, oldest first. Sending it changes nothing."""
    rows = _waiting(project_id, address).filter(seq__gt=after_seq).select_related("message")
    return [row.message for row in rows.order_by("seq")[: min(limit, MOST)]]


def has_unadmitted(project_id: UUID, address: str) -> bool:
    """Whether anything waits there: a new attempt without an assignment would have work."""
    return _waiting(project_id, address).exists()


def admitted_since(project_id: UUID, address: str, after_seq: int = 0) -> list[Message]:
    """What entered the agent's history, oldest first, as long as it is kept."""
    rows = Message.objects.in_state(MessageState.ADMITTED).placed()
    found = list(rows.filter(project_id=project_id, address__name=address, seq__gt=after_seq).order_by("seq"))
    receipts.attach(found)
    return found


def admit(
    project_id: UUID, address: str, ids: Collection[str], attempt: int, *, now: datetime | None = None
) -> list[str]:
    """These entered the history of this attempt. Returns those that had not before: each is admitted once (I2).

    The caller has made sure that the attempt is current; it holds the session's row in the same transaction.
    """
    if not ids:
        return []
    found = Message.objects.filter(project_id=project_id, message_id__in=set(ids))
    names = dict(found.values_list("pk", "message_id"))
    with journal.transaction():
        rows = moves.remove(moves.numbered(project_id, address, list(names), Fragment("state = 'new'")))
        receipts.note(rows, attempt=attempt, now=now)
    return [names[row.message] for row in rows]


def _waiting(project_id: UUID, address: str) -> QuerySet[Waiting]:
    return Waiting.objects.filter(address__project=project_id, address__name=address, state=MessageState.NEW)
