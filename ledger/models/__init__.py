"""The rows of the ledger: events, the audit chain, the outbox, and the state of the sweeps. No operations."""

from ledger.models.audit import AuditEntry, SigningKey
from ledger.models.deliveries import Delivery, DeliveryState, Lane
from ledger.models.feed import Event, Head, Kept, Source
from ledger.models.outbox import OutboxEntry
from ledger.models.sweeps import Downtime, Outage, SkippedRow, Sweep, Why
from ledger.models.webhooks import DisabledReason, Webhook

__all__ = [
    "AuditEntry",
    "Delivery",
    "DeliveryState",
    "DisabledReason",
    "Downtime",
    "Event",
    "Head",
    "Kept",
    "Lane",
    "Outage",
    "OutboxEntry",
    "SigningKey",
    "SkippedRow",
    "Source",
    "Sweep",
    "Webhook",
    "Why",
]
