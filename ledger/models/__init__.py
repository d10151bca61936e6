"""The rows of the ledger: events, the audit chain, the outbox, and the state of the sweeps. No operations."""

from ledger.models.audit import AuditEntry, SigningKey
from ledger.models.feed import Event, Head, Kept, Source
from ledger.models.outbox import OutboxEntry
from ledger.models.sweeps import Downtime, Outage, SkippedRow, Sweep, Why

__all__ = [
    "AuditEntry",
    "Downtime",
    "Event",
    "Head",
    "Kept",
    "Outage",
    "OutboxEntry",
    "SigningKey",
    "SkippedRow",
    "Source",
    "Sweep",
    "Why",
]
