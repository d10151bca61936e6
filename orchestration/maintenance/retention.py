"""Delete rows that are past their retention period: in small batches, each in a transaction of its own.

Two concurrent workers delete each row once. The retention periods are in `core.limits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from accounts.models import IdempotencyKey
from approvals.models import Approval, Waiter
from approvals.states import Outcome
from core.db.clock import later, read_database_clock
from core.limits import LIMITS
from ledger import sweep_batch, unit_of_work
from ledger.models import Delivery, Downtime, Event, Head, Kept, OutboxEntry
from ledger.sweep_batch import Work
from mailbox import quarantine
from mailbox.addresses import session_of
from mailbox.models import Message, Waiting
from mailbox.states import MessageState
from mailbox.store import receipts
from orchestration.maintenance import workdirs
from orchestration.models import Attempt, Cancellation, Session, WebProcess
from orchestration.runners import process
from orchestration.sessions import transitions
from orchestration.states import ENDED, TERMINAL

BATCH = 500
#: The seconds for one kind of row in one round. A fixed number of batches would be a fixed rate, and a table that grows
#: faster than that rate would grow for ever.
SHARE_SECS = 5.0
DAY = 86400
log = logging.getLogger(__name__)


def sweep() -> int:
    """Run one round over every kind, and return the number of deleted rows and files.

    A failing kind does not stop the others.
    """
    admitted = later(-LIMITS.keep_admitted_secs)
    settled = later(-LIMITS.keep_settled_quarantine_secs)
    kinds: dict[str, Callable[[], int]] = {
        "old rows": lambda: sum(_delete(due) for due in _due()),
        "receipts": lambda: _clear("receipts", lambda last: receipts.due(admitted, BATCH, last or 0), receipts.forget),
        "quarantine": lambda: _clear(
            "quarantine", lambda last: quarantine.due(settled, BATCH, last), quarantine.forget
        ),
        "dead messages": lambda: _dead_messages(),
        "events": lambda: _events(),
        "cancels": lambda: _cancels(),
        "logs": _logs,
        "work folders": lambda: workdirs.sweep(),
    }
    trouble: list[Exception] = []
    gone = 0
    for name, remove in kinds.items():
        try:
            gone += remove()
        except Exception as error:
            log.exception("retention failed on %s", name)
            trouble.append(error)
    if trouble:
        raise trouble[0]
    return gone


def _clear(kind: str, due: Callable[[Any], Sequence[Any]], forget: Callable[[Sequence[Any]], int]) -> int:
    """Delete batch by batch the keys that `due` returns after the last key, at first None. Skip rows that fail."""
    work, began = Work("retention_sweep", kind), read_database_clock()
    gone, last, end = 0, None, time.monotonic() + SHARE_SECS
    while batch := list(due(last)):
        gone, last = gone + sweep_batch.in_bulk(work, batch, forget), batch[-1]
        if time.monotonic() >= end:
            return gone
    sweep_batch.forget_untried(work, began)
    return gone


def _after(rows: QuerySet[Any], last: Any) -> Sequence[Any]:
    """Return the keys of the next batch."""
    rows = rows if last is None else rows.filter(pk__gt=last)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _due() -> Iterator[QuerySet[Any]]:
    """Yield the rows that depend on their age only."""
    yield IdempotencyKey.objects.filter(created_at__lt=later(-LIMITS.keep_idempotency_secs))
    # An unknown outcome waits for a person.
    known = Q(outcome__isnull=True) | ~Q(outcome=Outcome.UNKNOWN)
    yield Approval.objects.filter(known, settled_at__lt=later(-LIMITS.keep_settled_approvals_secs))
    # Waiters of calls whose server died. Other waiters are deleted with their call.
    yield Waiter.objects.filter(lease_until__lt=later(0))
    yield Downtime.objects.filter(ended_at__lt=later(-2 * max(30 * DAY, LIMITS.max_total_secs)))
    # A session's quota counts until its events are deleted.
    over = Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=later(-LIMITS.keep_events_secs))
    yield Kept.objects.filter(Exists(over.filter(pk=OuterRef("pk"))))
    yield Delivery.objects.filter(settled_at__lt=later(-LIMITS.keep_deliveries_secs))
    yield OutboxEntry.objects.filter(sent_at__lt=later(-7 * DAY))
    # While an attempt is open, the last heartbeat of its web process tells when the connection was lost.
    held = Attempt.objects.filter(web_process=OuterRef("pk")).exclude(status__in=sorted(ENDED))
    yield WebProcess.objects.filter(~Exists(held), heartbeat_at__lt=later(-DAY))


def _delete(due: QuerySet[Any]) -> int:
    def forget(keys: Sequence[Any]) -> int:
        with unit_of_work.transaction():
            return int(due.model._default_manager.filter(pk__in=keys).only("pk").delete()[0])

    return _clear(due.model._meta.model_name, lambda last: _after(due, last), forget)


def _dead_messages() -> int:
    """Delete messages that were never admitted, at the addresses of sessions that ended long ago."""
    old = later(-LIMITS.keep_dead_messages_secs)
    waiting = Waiting.objects.filter(
        state=MessageState.NEW, address__name__startswith="session:", message__received_at__lt=old
    )
    over = Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=old)

    def forget(keys: Sequence[Any]) -> int:
        names = dict(waiting.filter(pk__in=keys).values_list("pk", "address__name"))
        dead = set(over.filter(pk__in={session_of(name) for name in names.values()}).values_list("pk", flat=True))
        with unit_of_work.transaction():
            unread = Waiting.objects.select_for_update().filter(state=MessageState.NEW)
            # A concurrent admission takes the row away first, or finds that it is gone.
            unread = unread.filter(pk__in=[pk for pk, name in names.items() if session_of(name) in dead])
            # Lock in the common order. The keys may have another one.
            locked = list(unread.order_by("address_id", "seq").values_list("pk", flat=True))
            Message.objects.filter(pk__in=locked).only("pk").delete()
            return len(locked)

    return _clear("dead messages", lambda last: _after(waiting, last), forget)


def _events() -> int:
    """Delete old events, except those of open sessions. Each project's head records the newest deleted cursor."""
    going_on = Session.objects.filter(pk=OuterRef("session")).exclude(status__in=sorted(TERMINAL))
    old = Event.objects.filter(Q(session=None) | ~Exists(going_on), at__lt=later(-LIMITS.keep_events_secs))

    def forget(keys: Sequence[Any]) -> int:
        events = Event.objects.filter(pk__in=keys)
        newest = events.order_by().values_list("project").annotate(newest=Max("cursor")).order_by("project")
        with unit_of_work.transaction():
            # Move the horizon first, so that a reader can detect that it missed events.
            for project, cursor in newest:
                Head.objects.filter(pk=project).update(oldest=Greatest(F("oldest"), cursor))
            return events.delete()[0]

    return _clear("events", lambda last: _after(old, last), forget)


def _cancels() -> int:
    """Delete finished cancels of large trees together with their events.

    First clear the references from sessions, in batches.
    """
    old = Cancellation.objects.filter(finished_at__lt=later(-LIMITS.keep_events_secs))
    visited = Session.objects.filter(cancellation__in=old)

    def leave(keys: Sequence[Any]) -> int:
        with unit_of_work.transaction():
            transitions.lock_in_order(keys)
            return visited.filter(pk__in=keys).update(cancellation=None)

    _clear("sessions of cancels", lambda last: _after(visited, last), leave)
    return _delete(old.filter(~Exists(Session.objects.filter(cancellation=OuterRef("pk")))))


def _logs() -> int:
    """Delete old logs on this host of supervisors without a state file."""

    def remove(path: Path) -> int:
        try:
            if path.stat().st_mtime >= time.time() - 7 * DAY or path.with_suffix(".json").exists():
                return 0
            path.unlink()
        except FileNotFoundError:
            return 0  # Another worker removed it.
        return 1

    logs = process.supervisors_folder().glob("*.log")
    return sweep_batch.each(Work("retention_sweep", "logs of supervisors"), lambda most: logs, remove)
