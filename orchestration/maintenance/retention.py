"""Letting go of what nobody may ask for any more: in small batches, each a transaction of its own.

Two at once delete the same rows once. What is kept for how long is said in `config.defaults`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from accounts.models import IdempotencyKey
from approvals.models import Approval, Waiter
from core.db.clock import later, read_database_clock
from ledger import sweep_batch, unit_of_work
from ledger.models import Downtime, Event, Head, Kept, OutboxEntry
from ledger.sweep_batch import Work
from mailbox import quarantine
from mailbox.addresses import session_of
from mailbox.models import Message, Waiting
from mailbox.states import MessageState
from mailbox.store import receipts
from orchestration import runners
from orchestration.maintenance import workdirs
from orchestration.models import Attempt, Cancellation, Session, WebProcess
from orchestration.sessions import transitions
from orchestration.states import ENDED, TERMINAL

BATCH = 500
#: How long one kind of thing may take of a round. A number of batches would be a rate, and what comes in faster than it
#: would grow for ever.
SHARE_SECS = 5.0
DAY = 86400
log = logging.getLogger(__name__)


def sweep(*, now: datetime | None = None) -> int:
    """One round over everything; how many rows and files went. One kind that fails keeps no other waiting."""
    trouble: list[Exception] = []
    gone = 0
    for kind in (_old_rows, _admitted, _quarantine, _dead_messages, _events, _cancels, _files, _folders):
        try:
            gone += kind(now)
        except Exception as error:
            log.exception("housekeeping failed on %s", kind.__name__)
            trouble.append(error)
    if trouble:
        raise trouble[0]
    return gone


def _clear(kind: str, due: Callable[[Any], Sequence[Any]], forget: Callable[[Sequence[Any]], int]) -> int:
    """Batch by batch of the keys that `due` finds after the last one, or None. One that cannot go is passed over."""
    work, began = Work("housekeeping", kind), read_database_clock()
    gone, last = 0, None
    for _ in _turns():
        batch = list(due(last))
        if not batch:
            sweep_batch.forget_untried(work, began)
            break
        gone, last = gone + sweep_batch.together(work, batch, forget), batch[-1]
    return gone


def _after(rows: QuerySet[Any], last: Any) -> Sequence[Any]:
    """The keys of the next batch."""
    rows = rows if last is None else rows.filter(pk__gt=last)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _turns() -> Iterator[None]:
    """One turn for each batch of one kind, at least one, until its share of the round is over."""
    end = time.monotonic() + SHARE_SECS
    yield
    while time.monotonic() < end:
        yield


def _old_rows(now: datetime | None) -> int:
    return sum(_delete(due) for due in _due(now))


def _due(now: datetime | None) -> Iterator[QuerySet[Any]]:
    """What may simply go once it is old enough."""
    yield IdempotencyKey.objects.filter(created_at__lt=_ago("keep_idempotency_secs", now))
    yield Approval.objects.filter(settled_at__lt=_ago("keep_settled_approvals_secs", now))
    # Of held calls whose server died; the others went with their call.
    yield Waiter.objects.filter(lease_until__lt=later(0, now))
    yield Downtime.objects.filter(ended_at__lt=later(-2 * max(30 * DAY, settings.WARDROOM["max_total_secs"]), now))
    # What a session was made to keep is counted until its events go.
    over = Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=_ago("keep_events_secs", now))
    yield Kept.objects.filter(Exists(over.filter(pk=OuterRef("pk"))))
    yield OutboxEntry.objects.filter(sent_at__lt=later(-7 * DAY, now))
    # While an attempt is open, the heartbeat of the process that held its line says when the line was lost.
    held = Attempt.objects.filter(web_process=OuterRef("pk")).exclude(status__in=sorted(ENDED))
    yield WebProcess.objects.filter(~Exists(held), heartbeat_at__lt=later(-DAY, now))


def _ago(setting: str, now: datetime | None) -> Any:
    return later(-settings.WARDROOM[setting], now)


def _delete(due: QuerySet[Any]) -> int:
    def forget(keys: Sequence[Any]) -> int:
        with unit_of_work.transaction():
            return int(due.model._default_manager.filter(pk__in=keys).only("pk").delete()[0])

    return _clear(due.model._meta.model_name, lambda last: _after(due, last), forget)


def _quarantine(now: datetime | None) -> int:
    """What staff have settled; what waits for them is kept however old it is."""
    before = _ago("keep_settled_quarantine_secs", now)
    return _clear("quarantine", lambda last: quarantine.due(before, BATCH, last), quarantine.forget)


def _admitted(now: datetime | None) -> int:
    """Messages that were acknowledged, and their receipts."""
    before = _ago("keep_admitted_secs", now)
    return _clear("receipts", lambda last: receipts.due(before, BATCH, last or 0), receipts.forget)


def _dead_messages(now: datetime | None) -> int:
    """What was never taken in, at the addresses of sessions that have been over for long."""
    old = _ago("keep_dead_messages_secs", now)
    waiting = Waiting.objects.filter(
        state=MessageState.NEW, address__name__startswith="session:", message__received_at__lt=old
    )
    over = Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=old)

    def forget(keys: Sequence[Any]) -> int:
        names = dict(waiting.filter(pk__in=keys).values_list("pk", "address__name"))
        dead = set(over.filter(pk__in={session_of(name) for name in names.values()}).values_list("pk", flat=True))
        return _forget_unread([pk for pk, name in names.items() if session_of(name) in dead])

    return _clear("dead messages", lambda last: _after(waiting, last), forget)


def _forget_unread(keys: list[int]) -> int:
    with unit_of_work.transaction():
        # Whoever admits one of these meanwhile takes its row away first, or finds it gone.
        mine = Waiting.objects.select_for_update().filter(pk__in=keys, state=MessageState.NEW)
        # In the order of every verb: keys may be in another one.
        still = list(mine.order_by("address_id", "seq").values_list("pk", flat=True))
        Message.objects.filter(pk__in=still).only("pk").delete()
        return len(still)


def _events(now: datetime | None) -> int:
    """Old events, but not those of sessions that are not over; each project's head remembers how far."""
    going_on = Session.objects.filter(pk=OuterRef("session")).exclude(status__in=sorted(TERMINAL))
    old = Event.objects.filter(Q(session=None) | ~Exists(going_on), at__lt=_ago("keep_events_secs", now))

    def forget(keys: Sequence[Any]) -> int:
        with unit_of_work.transaction():
            return _forget(Event.objects.filter(pk__in=keys))

    return _clear("events", lambda last: _after(old, last), forget)


def _forget(events: QuerySet[Event]) -> int:
    """Move each project's horizon first: a reader that misses an event must be able to tell."""
    for project, cursor in events.order_by().values_list("project").annotate(newest=Max("cursor")).order_by("project"):
        Head.objects.filter(pk=project).update(oldest=Greatest(F("oldest"), cursor))
    return events.delete()[0]


def _cancels(now: datetime | None) -> int:
    """Cancels of large trees, with the events that told of them. The sessions of each forget it first, in batches."""
    old = Cancellation.objects.filter(finished_at__lt=_ago("keep_events_secs", now))
    visited = Session.objects.filter(cancellation__in=old)

    def leave(keys: Sequence[Any]) -> int:
        with unit_of_work.transaction():
            transitions.lock_in_order(keys)
            return visited.filter(pk__in=keys).update(cancellation=None)

    _clear("sessions of cancels", lambda last: _after(visited, last), leave)
    return _delete(old.filter(~Exists(Session.objects.filter(cancellation=OuterRef("pk")))))


def _files(now: datetime | None) -> int:
    """Logs of keepers that are gone, on this host."""
    logs = runners.keepers_folder().glob("*.log")
    return sweep_batch.each(Work("housekeeping", "logs of keepers"), lambda most: logs, _remove_old)


def _remove_old(path: Path) -> int:
    try:
        if path.stat().st_mtime >= time.time() - 7 * DAY or path.with_suffix(".json").exists():
            return 0
        path.unlink()
    except FileNotFoundError:
        return 0  # Another worker was faster.
    return 1


def _folders(now: datetime | None) -> int:
    return workdirs.sweep(now=now)
