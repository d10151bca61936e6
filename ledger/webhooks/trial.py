"""Send an event to a webhook by hand, to try its receiver."""

from __future__ import annotations

from uuid import uuid4

from core.web import problems
from ledger import unit_of_work, wakeups
from ledger.deliveries import lanes
from ledger.models import Delivery, Lane, Webhook
from ledger.webhooks import follow


def send(webhook: Webhook) -> Delivery:
    """Make a delivery `webhook_test`, which is sent like every other. Raises conflict for a disabled webhook."""
    data = {"project": str(webhook.project_id), "webhook": str(webhook.pk)}
    row = follow.delivery(webhook, follow.TEST, data, f"test:{uuid4()}")
    with unit_of_work.transaction():
        if not Webhook.objects.filter(pk=webhook.pk, disabled=None).exists():
            raise problems.conflict("This webhook is disabled. Enable it first.")
        lanes.ensure([webhook.lane])
        Lane.objects.filter(name=webhook.lane).update(paused_until=None)
        row.save(force_insert=True)
        unit_of_work.wake(wakeups.DELIVERIES)
        return Delivery.objects.get(pk=row.pk)
