"""Write the new entries of a transaction, under each project's ledger head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from uuid import UUID

import msgspec

from core.db import clock, sql
from ledger.audit import chain
from ledger.models import Head, OutboxEntry, Source
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


def write(new: Sequence[NewEntry]) -> list[UUID]:
    """Write all entries inside the open transaction. Return the projects with new events in their feeds.

    Locks the heads, in the order of project ids. Nothing is locked after them.
    """
    due = [entry for entry in new if isinstance(entry, NewOutbox)]
    if due:
        owed = [OutboxEntry(project_id=o.project_id, kind=o.kind, key=o.key, payload=o.payload) for o in due]
        OutboxEntry.objects.bulk_create(owed, ignore_conflicts=True)
    moved = []
    for project_id in sorted({entry.project_id for entry in new if not isinstance(entry, NewOutbox)}):
        own = [entry for entry in new if entry.project_id == project_id]
        # The payloads are encoded here, before the head is locked.
        events = [_row(entry) for entry in own if isinstance(entry, NewEvent)]
        audits = [entry for entry in own if isinstance(entry, NewAudit)]
        cursor, number, last_hash, at = _take(project_id, len(events), len(audits))
        for place, row in enumerate(events, cursor - len(events) + 1):
            row["cursor"] = place
        chained = chain.links(
            last_hash,
            number - len(audits),
            [chain.Entry(str(project_id), at, each.actor, each.action, each.subject, each.detail) for each in audits],
        )
        insert.rows(project_id, events, chained)
        if events:
            moved.append(project_id)
    return moved


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


def _take(project_id: UUID, events: int, audits: int) -> tuple[int, int, str, str]:
    """Lock the head. Return its new cursor and audit number, the hash of its last audit row, and the time."""
    params = {"events": events, "audits": audits, "project": sql.uid(project_id), "now": clock.parameter()}
    for cursor, number, last_hash, at in sql.run_prepared(insert.STATEMENTS["take_head"], params):
        text = at if isinstance(at, str) else at.astimezone(UTC).isoformat(timespec="milliseconds")
        return cursor, number, last_hash, text
    Head.objects.bulk_create([Head(project_id=project_id)], ignore_conflicts=True)
    return _take(project_id, events, audits)
