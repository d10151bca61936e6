"""Reading a session's address: its live line sends what is not admitted yet, and says when it is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from mailbox import moves, sql
from mailbox.models import Message
from mailbox.sql import Fragment
from mailbox.states import MessageState

MOST = 1000


def unadmitted(project_id: UUID, address: str, after_seq: int = 0, limit: int = 100) -> list[Message]:
    """What the agent has not taken in yet, oldest first. Sending it changes nothing."""
    rows = Message.objects.filter(
        project_id=project_id, address__name=address, waits=True, state=MessageState.NEW, seq__gt=after_seq
    )
    return list(rows.order_by("seq")[: min(limit, MOST)])


def has_unadmitted(project_id: UUID, address: str) -> bool:
    """Whether anything waits there: a new attempt without an assignment would have work."""
    rows = Message.objects.filter(project_id=project_id, address__name=address, waits=True, state=MessageState.NEW)
    return rows.exists()


def admitted_since(project_id: UUID, address: str, after_seq: int = 0) -> list[Message]:
    """What entered the agent's history, oldest first, as long as it is kept."""
    rows = Message.objects.filter(
        project_id=project_id, address__name=address, state=MessageState.ADMITTED, seq__gt=after_seq
    )
    return list(rows.order_by("seq"))


def admit(
    project_id: UUID, address: str, ids: Collection[str], attempt: int, *, now: datetime | None = None
) -> list[str]:
    """These entered the history of this attempt. Returns those that had not before: each is admitted once (I2).

    The caller has made sure that the attempt is current; it holds the session's row in the same transaction.
    """
    if not ids:
        return []
    clock = sql.at(now)
    change = Fragment(
        f"state = 'admitted', admitted_at = {clock.text}, admitted_attempt = %s", (*clock.params, attempt)
    )
    new = moves.named(project_id, address, ids, Fragment("state = 'new'"))
    rows = moves.move(new, change, columns=moves.NAMES)
    return [row.message_id for row in rows]
