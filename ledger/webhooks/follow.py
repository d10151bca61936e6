"""Make the deliveries of each webhook from the feed.

A webhook reads the feed by its cursor, after COMMIT: the transaction of an event writes nothing for it. Moving the
cursor and making the deliveries is one transaction, so each event is delivered to each webhook that asks for it.
Only Wardroom's own events are: a child chooses the types of its events, and they may hold anything.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import OuterRef, Subquery

from core.db.clock import moment, read_database_clock
from core.limits import LIMITS
from ledger import sweep_batch, unit_of_work
from ledger.deliveries import lanes
from ledger.models import Delivery, DeliveryState, Event, Head, Source, Webhook
from ledger.sweep_batch import Work
from ledger.webhooks import receivers

WORK = Work("deliveries_sweep", "webhooks")
#: The events of one step. Cursors of a project are dense.
SPAN = 2000
RESYNC, TEST = "resync", "webhook_test"
#: Members of payloads that are ids and words of Wardroom, under the names of the delivery.
TOLD = {
    "approval_id": "approval",
    "version": "version",
    "status": "status",
    "child_session_id": "child_session",
    "quarantine_id": "quarantine",
    "webhook_id": "webhook",
}


def follow() -> int:
    """Let each webhook with room read on. Return the number of new deliveries."""
    newest = Head.objects.filter(pk=OuterRef("project_id")).values("cursor")[:1]
    behind = Webhook.objects.filter(disabled=None, cursor__lt=Subquery(newest)).values_list("pk", flat=True)
    return sweep_batch.each(WORK, lambda most: behind.order_by("pk")[:most], advance)


def is_wanted() -> bool:
    """Return True while a webhook is enabled."""
    return Webhook.objects.filter(disabled=None).exists()


def advance(webhook_id: UUID) -> int:
    """Read one step of the feed. Return the number of new deliveries."""
    webhook = Webhook.objects.filter(pk=webhook_id, disabled=None).first()
    if webhook is None:
        return 0
    waiting = Delivery.objects.filter(webhook=webhook, lane=webhook.lane, state=DeliveryState.WAITING)
    if waiting.count() >= LIMITS.deliveries_waiting:
        return 0
    newest, oldest = Head.objects.filter(pk=webhook.project_id).values_list("cursor", "oldest").first() or (0, 0)
    if webhook.cursor < oldest:
        data = {"project": str(webhook.project_id), "cursor": oldest}
        return _move(webhook, oldest, [delivery(webhook, RESYNC, data, f"{oldest}:resync", cursor=oldest)])
    until = min(newest, webhook.cursor + SPAN)
    events = Event.objects.filter(
        project_id=webhook.project_id, cursor__gt=webhook.cursor, cursor__lte=until, source=Source.WARDROOM
    )
    wanted = [cursor for cursor, type in events.values_list("cursor", "type") if receivers.wants(webhook, type)]
    # With less room than events, the step ends at the last one that fits.
    wanted.sort()
    room = LIMITS.deliveries_waiting
    if len(wanted) > room:
        until, wanted = wanted[room - 1], wanted[:room]
    return _move(webhook, until, [_of_event(webhook, event) for event in events.filter(cursor__in=wanted)])


def _move(webhook: Webhook, until: int, new: list[Delivery]) -> int:
    with unit_of_work.transaction():
        # Of two processes at the same place, one moves on.
        mine = Webhook.objects.filter(pk=webhook.pk, cursor=webhook.cursor, disabled=None)
        if not mine.update(cursor=until):
            return 0
        if new:
            lanes.ensure([webhook.lane])
            Delivery.objects.bulk_create(new, ignore_conflicts=True)
        return len(new)


def _of_event(webhook: Webhook, event: Event) -> Delivery:
    data: dict[str, Any] = {"project": str(event.project_id), "cursor": event.cursor}
    if event.session is not None:
        data |= {"session": str(event.session), "attempt": event.attempt}
    data |= {name: event.payload[member] for member, name in TOLD.items() if member in event.payload}
    return delivery(webhook, event.type, data, str(event.cursor), cursor=event.cursor, at=moment(event.at))


def delivery(
    webhook: Webhook, type: str, data: dict[str, Any], source: str, *, at: str = "", cursor: int | None = None
) -> Delivery:
    """Return a new row. `source` says where it comes from: it is made once for each."""
    payload = {"type": type, "timestamp": at or moment(read_database_clock()), "data": data}
    return Delivery(
        project_id=webhook.project_id,
        lane=webhook.lane,
        webhook=webhook,
        key=f"webhook:{webhook.pk}:{source}",
        receiver=webhook.host,
        type=type,
        cursor=cursor,
        payload=msgspec.json.encode(payload).decode(),
    )
