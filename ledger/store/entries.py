"""Write the new entries of a transaction, under each project's ledger head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from ledger.audit import chain
from ledger.models import OutboxEntry, Source
from ledger.store import insert


@dataclass(frozen=True, slots=True)
class NewEvent:
    project_id: UUID
    type: str
    payload: dict[str, Any]
    session: UUID | None
    attempt: int | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class NewAudit:
    project_id: UUID
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewOutbox:
    project_id: UUID
    kind: str
    key: str
    payload: dict[str, Any]


NewEntry = NewEvent | NewAudit | NewOutbox


def feeds(new: Sequence[NewEntry]) -> list[UUID]:
    """Return the projects with new events in their feeds."""
    return sorted({entry.project_id for entry in new if isinstance(entry, NewEvent)})


def write(new: Sequence[NewEntry], *, commit: bool) -> None:
    """Write all entries inside the open transaction, and end it if `commit`, and there are some under a ledger head.

    Locks the heads, in the order of project ids. Nothing is locked after them.
    """
    due = [entry for entry in new if isinstance(entry, NewOutbox)]
    if due:
        owed = [OutboxEntry(project_id=o.project_id, kind=o.kind, key=o.key, payload=o.payload) for o in due]
        OutboxEntry.objects.bulk_create(owed, ignore_conflicts=True)
    found = sorted({entry.project_id for entry in new if not isinstance(entry, NewOutbox)})
    for project_id in found:
        own = [entry for entry in new if entry.project_id == project_id]
        # The payloads are encoded here, before the head is locked.
        events = [_row(entry) for entry in own if isinstance(entry, NewEvent)]
        audits = [
            chain.Entry(str(project_id), each.actor, each.action, each.subject, each.detail)
            for each in own
            if isinstance(each, NewAudit)
        ]
        insert.entries(project_id, events, audits, commit=commit and project_id == found[-1])


def _row(new: NewEvent) -> dict[str, Any]:
    """Return the columns of an event without its cursor."""
    payload = msgspec.json.encode(new.payload)
    return {
        "session": new.session,
        "attempt": new.attempt,
        "seq": new.seq,
        "source": (Source.WARDROOM if new.seq is None else Source.CHILD).value,
        "type": new.type,
        "size": len(payload),
        "payload": payload.decode(),
    }
