"""Report the end of a session to its parent: once for each attempt that ends it (I9), in the ending transaction.

A completion never starts a session. It is an event in the feed and, while the parent is not over, a message to it.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from core.db.clock import moment
from core.limits import LIMITS
from ledger import unit_of_work
from mailbox import delivery
from mailbox.addresses import OWN, session_address
from mailbox.envelope import NewMessage, body_text
from mailbox.store import insert
from orchestration.models import Attempt, Session
from orchestration.sessions import completion_handlers
from orchestration.sessions.truncate import cut, json_bytes

KIND = "completion"


def complete(session: Session, attempt: int) -> None:
    """Report the end of `session` with this attempt. Call it inside the transaction that ended the session."""
    body: dict[str, Any] = {
        "child_session_id": str(session.pk),
        "parent_session_id": str(session.parent_id) if session.parent_id else None,
        "attempt": attempt,
        "status": session.status,
        "result": session.result,
        "error": session.error,
        "completed_at": moment(session.finished_at) if session.finished_at else None,
    }
    payload = {name: value for name, value in body.items() if name != "result"}
    unit_of_work.event(session.project_id, "sub_agent_completed", payload, session=session.pk, attempt=attempt)
    facts = {"parent": body["parent_session_id"], "child": body["child_session_id"]}
    facts |= {name: body[name] for name in ("attempt", "status", "error", "result", "completed_at")}
    completion_handlers.enqueue(session, attempt, facts)
    if session.parent_id is None:
        return
    parent = Session.objects.only("attempt", "status").get(pk=session.parent_id)
    # The parent's own events get it too, for readers that follow only the parent.
    unit_of_work.event(session.project_id, "sub_agent_completed", payload, session=parent.pk, attempt=parent.attempt)
    if parent.is_terminal:
        return
    # A result may be six times as large in a message as in the session, because it is escaped there. Cut it, so that no
    # completion is refused for its size.
    most = LIMITS.max_body_bytes
    if len(body_text(body).encode()) > most:
        short = {**body, "result": "", "result_cut": True}
        room = most - len(body_text(short).encode())
        whole = "; the whole is the session's result"
        body = {**short, "result": cut(session.result or "", room, whole, json_bytes)}
    message = NewMessage(
        id=message_id(session.pk, attempt),
        message_kind=KIND,
        body=body,
        sender_session=session.pk,
        sender_role=session.role,
    )
    address = session_address(session.parent_id)
    delivery.deliver(session.project_id, address, [message], internal=True)


def begin(session: Session, attempt: int) -> None:
    """Report the first start of a child to itself and to its parent. Call it in the transaction that started it."""
    earlier = Attempt.objects.filter(session=session, number__lt=attempt, running_at__isnull=False)
    if session.parent_id is None or earlier.exists():
        return
    payload = {"child_session_id": str(session.pk), "parent_session_id": str(session.parent_id), "attempt": attempt}
    parent = Session.objects.only("attempt").get(pk=session.parent_id)
    unit_of_work.event(session.project_id, "sub_agent_started", payload, session=session.pk, attempt=attempt)
    unit_of_work.event(session.project_id, "sub_agent_started", payload, session=parent.pk, attempt=parent.attempt)


def lock_addresses(ending: Collection[Session]) -> None:
    """Lock all addresses that receive the completions of these sessions of one project, in one step.

    Call it inside the transaction that is about to end them. Locks taken one by one would follow the depth of the
    sessions, while deliveries lock addresses by name. The two orders could deadlock.
    """
    parents = [session for session in ending if session.parent_id]
    if len(parents) > 1:
        names = {session_address(session.parent_id) for session in parents if session.parent_id}
        insert.lock_addresses(parents[0].project_id, names)


def message_id(session_id: UUID, attempt: int) -> str:
    """Return the id of the one completion message of this attempt. It is derived from both, so an end is reported once.

    No sender can use such an id. Otherwise a sender could make the transaction that ends this attempt fail for ever.
    """
    return f"{OWN}completion:{session_id}/{attempt}"
