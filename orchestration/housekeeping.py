"""Letting go of what nobody may ask for any more: in small batches, each a transaction of its own.

Two at once delete the same rows once. What is kept for how long is said in `config.defaults`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from accounts.clock import later
from accounts.models import IdempotencyKey
from approvals.models import Approval, Waiter
from ledger import journal
from ledger.models import Event, Head, OutboxEntry
from mailbox import quarantine, receipts
from mailbox.addresses import session_of
from mailbox.models import Message, Waiting
from mailbox.states import MessageState
from orchestration import folders, runners
from orchestration.models import Attempt, Session, WebProcess
from orchestration.states import ENDED, TERMINAL

BATCH = 500
#: How long one kind of thing may take of a round. A number of batches would be a rate, and what comes in faster than it
#: would grow for ever.
SHARE_SECS = 5.0
DAY = 86400


def sweep(*, now: datetime | None = None) -> int:
    """One round over everything; how many rows and files went."""
    rows = sum(_delete(due) for due in _due(now))
    return (
        rows
        + _admitted(now)
        + _quarantine(now)
        + _dead_messages(now)
        + _events(now)
        + _files()
        + folders.sweep(now=now)
    )


def _turns() -> Iterator[None]:
    """One turn for each batch of one kind, at least one, until its share of the round is over."""
    end = time.monotonic() + SHARE_SECS
    yield
    while time.monotonic() < end:
        yield


def _due(now: datetime | None) -> Iterator[QuerySet[Any]]:
    """What may simply go once it is old enough."""
    yield IdempotencyKey.objects.filter(created_at__lt=_ago("keep_idempotency_secs", now))
    yield Approval.objects.filter(settled_at__lt=_ago("keep_settled_approvals_secs", now))
    # Of held calls whose server died; the others went with their call.
    yield Waiter.objects.filter(lease_until__lt=later(0, now))
    yield OutboxEntry.objects.filter(sent_at__lt=later(-7 * DAY, now))
    # While an attempt is open, the heartbeat of the process that held its line says when the line was lost.
    held = Attempt.objects.filter(web_process=OuterRef("pk")).exclude(status__in=sorted(ENDED))
    yield WebProcess.objects.filter(~Exists(held), heartbeat_at__lt=later(-DAY, now))


def _ago(setting: str, now: datetime | None) -> Any:
    return later(-settings.WARDROOM[setting], now)


def _delete(due: QuerySet[Any]) -> int:
    gone = 0
    for _ in _turns():
        batch = list(due.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not batch:
            break
        with journal.transaction():
            gone += due.model._default_manager.filter(pk__in=batch).only("pk").delete()[0]
    return gone


def _quarantine(now: datetime | None) -> int:
    """What staff have settled; what waits for them is kept however old it is."""
    return _purge(quarantine.purge, _ago("keep_settled_quarantine_secs", now))


def _admitted(now: datetime | None) -> int:
    """Messages that were acknowledged, and their receipts."""
    return _purge(receipts.purge, _ago("keep_admitted_secs", now))


def _purge(purge: Callable[[Any, int], int], before: Any) -> int:
    """Batch by batch, as long as they are full."""
    gone = 0
    for _ in _turns():
        batch = purge(before, BATCH)
        gone += batch
        if batch < BATCH:
            break
    return gone


def _dead_messages(now: datetime | None) -> int:
    """What was never taken in, at the addresses of sessions that have been over for long."""
    old = _ago("keep_dead_messages_secs", now)
    waiting = Waiting.objects.filter(
        state=MessageState.NEW, address__name__startswith="session:", message__received_at__lt=old
    )
    gone, last = 0, 0
    for _ in _turns():
        batch = list(waiting.filter(pk__gt=last).order_by("pk").values_list("pk", "address__name")[:BATCH])
        if not batch:
            break
        last = batch[-1][0]
        over = Session.objects.filter(status__in=sorted(TERMINAL), finished_at__lt=old)
        dead = set(over.filter(pk__in={session_of(name) for _, name in batch}).values_list("pk", flat=True))
        pks = [pk for pk, name in batch if session_of(name) in dead]
        gone += _forget_unread(pks)
    return gone


def _forget_unread(keys: list[int]) -> int:
    with journal.transaction():
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
    gone = 0
    for _ in _turns():
        batch = list(old.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not batch:
            break
        with journal.transaction():
            gone += _forget(Event.objects.filter(pk__in=batch))
    return gone


def _forget(events: QuerySet[Event]) -> int:
    """Move each project's horizon first: a reader that misses an event must be able to tell."""
    for project, cursor in events.order_by().values_list("project").annotate(newest=Max("cursor")).order_by("project"):
        Head.objects.filter(pk=project).update(oldest=Greatest(F("oldest"), cursor))
    return events.delete()[0]


def _files() -> int:
    """Logs of keepers that are gone, on this host."""
    gone = 0
    for log in runners.keepers_folder().glob("*.log"):
        if log.stat().st_mtime < time.time() - 7 * DAY and not log.with_suffix(".json").exists():
            log.unlink(missing_ok=True)
            gone += 1
    return gone
