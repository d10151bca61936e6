"""The audit chain: each row's hash covers the row before it. So an altered, removed, inserted or reordered row is
detected. Rows cut off at the end are detected by the ledger head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.db.batches import in_batches
from ledger.models import AuditEntry, Head
from wardroom.jcs import canonical
from wardroom.verify.chain import START, row_hash


@dataclass(frozen=True, slots=True)
class Entry:
    """The content of one audit row, before it has a place in the chain."""

    project: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place where the chain does not hold."""

    project: UUID
    number: int
    why: str


def links(previous: str, number: int, at: str, new: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the columns of new rows that follow row `number` with the hash `previous`."""
    rows = []
    for entry in new:
        number += 1
        row = {**_columns(entry), "number": number, "at": at, "previous_hash": previous}
        previous = row["hash"] = row_hash(entry.project, row)
        rows.append(row)
    return rows


def unchained(entry: Entry) -> dict[str, str]:
    """Return the columns of a new row that its place does not decide, and the texts to hash around those that it does.

    They are `before_at`, the time, `before_number`, the number, `,"previous_hash":"`, the hash and `after_hash`.
    """
    row = _columns(entry)
    said = {"action": row["action"], "actor": row["actor"]}
    about = {"project": entry.project, "subject": row["subject"]}
    return {
        **row,
        "before_at": f'{canonical(said)[:-1]},"at":"',
        "before_number": f'","detail":{canonical(row["detail"])},"number":',
        "after_hash": f'",{canonical(about)[1:]}',
    }


def _columns(entry: Entry) -> dict[str, str]:
    return {
        "actor": entry.actor[:300],
        "action": entry.action,
        "subject": entry.subject[:300],
        "detail": canonical(entry.detail),
    }


def verify(project_id: UUID) -> Broken | None:
    """Check the project's chain. Return None if it holds."""
    previous, number = START, 0
    names = [field.attname for field in AuditEntry._meta.concrete_fields]
    for entry in in_batches(AuditEntry.objects.filter(project_id=project_id), ["number"], 1000):
        row = {name: getattr(entry, name) for name in names}
        number += 1
        if row["number"] != number:
            return Broken(project_id, number, f"row {number} is missing; found {row['number']}")
        if row["previous_hash"] != previous:
            return Broken(project_id, number, "it does not follow the row before it")
        if row["hash"] != row_hash(str(project_id), row):
            return Broken(project_id, number, "it was altered")
        previous = row["hash"]
    head = Head.objects.filter(pk=project_id).first()
    if head and (head.audit_number, head.audit_hash) != (number, previous):
        return Broken(project_id, number + 1, f"rows are missing at the end: the head is at {head.audit_number}")
    return None
