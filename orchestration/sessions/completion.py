"""Telling the parent that a session has ended: once for each attempt that ends it (I9), in the ending transaction.

It never starts a session: it is an event in the feed and, while the parent is not over, a message to it.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from core.db.clock import moment
from ledger import unit_of_work
from mailbox import delivery
from mailbox.addresses import OWN, session_address
from mailbox.envelope import NewMessage, body_text
from mailbox.store import insert
from orchestration.models import Session
from orchestration.sessions.truncate import cut, json_bytes

KIND = "completion"


def complete(session: Session, attempt: int, *, now: datetime | None = None) -> None:
    """Inside the transaction that ended `session` with this attempt."""
    body = _body(session, attempt)
    told = {name: value for name, value in body.items() if name != "result"}
    unit_of_work.event(session.project_id, "sub_agent_completed", told, session=session.pk, attempt=attempt)
    if session.parent_id is None:
        return
    parent = Session.objects.only("attempt", "status").get(pk=session.parent_id)
    # Once more among the parent's own events: who follows the parent alone hears of it too.
    unit_of_work.event(session.project_id, "sub_agent_completed", told, session=parent.pk, attempt=parent.attempt)
    if not parent.is_terminal:
        _message(session, attempt, body, now)


def hold_addresses(ending: Collection[Session]) -> None:
    """Inside the transaction that is about to end these of one project: lock where their completions go, all at once.

    One by one they would be taken deepest first, and deliveries take theirs by name: each could wait for the other.
    """
    parents = [session for session in ending if session.parent_id]
    if len(parents) > 1:
        names = {session_address(session.parent_id) for session in parents if session.parent_id}
        insert.hold(parents[0].project_id, names)


def message_id(session_id: UUID, attempt: int) -> str:
    """The id of the one completion message of this attempt: made from both, so that the same end is never told twice.

    No sender can take it. One that could would have made the transaction that ends this attempt fail, for ever.
    """
    return f"{OWN}completion:{session_id}/{attempt}"


def _message(session: Session, attempt: int, body: dict[str, Any], now: datetime | None) -> None:
    assert session.parent_id  # noqa: S101 - for the types: only children get here
    message = NewMessage(
        id=message_id(session.pk, attempt),
        message_kind=KIND,
        body=_fitting(body),
        sender_session=session.pk,
        sender_role=session.role,
    )
    address = session_address(session.parent_id)
    delivery.deliver(session.project_id, address, [message], internal=True, now=now)


def _fitting(body: dict[str, Any]) -> dict[str, Any]:
    """The body, with as much of the result as a message can carry: the end of a child is never refused for its size.

    A result that a session can hold may take six times as much in a message, where it is escaped.
    """
    most = settings.WARDROOM["max_body_bytes"]
    if len(body_text(body).encode()) <= most:
        return body
    short = {**body, "result": "", "result_cut": True}
    room = most - len(body_text(short).encode())
    return {**short, "result": cut(body["result"] or "", room, "; the whole is the session's result", json_bytes)}


def _body(session: Session, attempt: int) -> dict[str, Any]:
    return {
        "child_session_id": str(session.pk),
        "parent_session_id": str(session.parent_id) if session.parent_id else None,
        "attempt": attempt,
        "status": session.status,
        "result": session.result,
        "error": session.error,
        "completed_at": moment(session.finished_at) if session.finished_at else None,
    }
