"""Read the frames that are due on a connection from the rows: after a wake-up, after a poll and after a reconnect.

There are two lists, decisions first: a decision never waits behind a message, and a cancel waits behind neither. Each
thing is sent once within a connection. `Sent` records that, and is the only state of a connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from core.db.clock import database_now
from orchestration.connections import approvals
from orchestration.connections import run as connection_run
from orchestration.connections.fencing import Connection, fenced_transaction, look
from orchestration.models import Attempt, Session
from orchestration.states import Status
from wardroom.protocol import Cancel, Frame


@dataclass(slots=True)
class Sent:
    """The frames that one connection has sent already."""

    need_run: bool = False
    cancel: bool = False
    run: bool = False
    decisions: set[str] = field(default_factory=set)
    asking: set[str] = field(default_factory=set)
    message_seq: int = 0


def urgent(connection: Connection, sent: Sent) -> list[Frame]:
    """Return the frames that never wait behind messages, in order: cancel, run, decisions. Raises ConnectionRejected.

    The returned frames count as sent: the caller writes them, or loses the connection and `sent` with it.
    """
    attempt = look(connection)
    return [*_cancel(attempt.session, sent), *_run(connection, attempt, sent), *_decisions(connection, sent)]


def last_words(connection: Connection, sent: Sent) -> list[Frame]:
    """Return the cancel that the child of a timed-out or cancelled attempt should get before the close."""
    attempt = Attempt.objects.select_related("session").filter(**connection.row(), connection=connection.number).first()
    if sent.cancel or attempt is None or attempt.status not in (Status.TIMEOUT, Status.CANCELLED):
        return []
    return [Cancel(reason=attempt.reason or attempt.status, grace_secs=_grace())]


def note_cancel(connection: Connection, *, now: datetime | None = None) -> None:
    """Record that the cancel was written to the socket."""
    with fenced_transaction(connection):
        Attempt.objects.filter(**connection.row(), cancel_sent_at=None).update(cancel_sent_at=database_now(now))


def _cancel(session: Session, sent: Sent) -> list[Frame]:
    if session.cancel_requested_at is None or sent.cancel:
        return []
    sent.cancel = True
    return [Cancel(reason=session.cancel_reason, grace_secs=_grace())]


def _run(connection: Connection, attempt: Attempt, sent: Sent) -> list[Frame]:
    wanted = connection.plain or sent.need_run or attempt.run_acked_at is None
    if sent.run or not wanted or attempt.session.cancel_requested_at is not None:
        return []
    sent.run = True
    return [connection_run.run(connection)]


def _decisions(connection: Connection, sent: Sent) -> list[Frame]:
    owed = approvals.undelivered(connection, need_run=sent.need_run)
    # A request that is being registered gets its registration first, then its decision.
    fresh = [reply for reply in owed if reply.id not in sent.decisions and reply.id not in sent.asking]
    sent.decisions.update(reply.id for reply in fresh)
    return [*fresh]


def _grace() -> float:
    return float(settings.WARDROOM["cancel_grace_secs"])
