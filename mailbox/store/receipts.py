"""Receipts: one row for all messages of one acknowledgement, and the queries that find it again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from core.db.clock import database_now
from ledger import unit_of_work
from mailbox.models import Message, Quarantined, Receipt
from mailbox.states import MessageState
from mailbox.store import receipt_lookup, sql
from mailbox.store.pending import Moved

#: Messages for whose receipts one query asks.
ATTACHED = 1000


def note(rows: Sequence[Moved], *, claim: UUID | None = None, attempt: int | None = None) -> None:
    """Write the receipt of these rows. They belong to one address and were removed in the same transaction."""
    if rows:
        Receipt.objects.create(
            address_id=rows[0].address,
            claim=claim,
            attempt=attempt,
            admitted_at=database_now(),
            first_seq=min(row.seq for row in rows),
            last_seq=max(row.seq for row in rows),
            taken={str(row.seq): row.tries for row in rows},
        )


def acknowledged(project_id: UUID, address: str, claim: UUID, keys: Collection[int]) -> set[int]:
    """Return the keys of the messages that this claim has acknowledged."""
    known = Message.objects.in_state(MessageState.ADMITTED).filter(
        project_id=project_id, address__name=address, pk__in=keys
    )
    found = receipt_lookup.receipts_of(list(known.values_list("pk", flat=True)))
    own = set(Receipt.objects.filter(pk__in=set(found.values()), claim=claim).values_list("pk", flat=True))
    return {key for key, receipt in found.items() if receipt in own}


def attach(messages: Sequence[Message]) -> None:
    """Set the `receipt` of each message, with two queries for every thousand messages."""
    gone = [message for message in messages if message.pending is None and not message.dead_lettered]
    for start in range(0, len(gone), ATTACHED):
        some = gone[start : start + ATTACHED]
        of = receipt_lookup.receipts_of([message.pk for message in some])
        found = Receipt.objects.in_bulk(set(of.values()))
        for message in some:
            message.receipt = found.get(of.get(message.pk, 0))


def due(before: Any, limit: int, after: int = 0) -> list[int]:
    """Return the next receipts after this key from before this moment, oldest first, with about `limit` messages in
    all.

    Receipts are read by key, which is the order in which they were written, so no index on time is needed.
    """
    first = Receipt.objects.filter(pk__gt=after).order_by("pk").values("pk")[:limit]
    old = Receipt.objects.filter(pk__in=first, admitted_at__lt=before).order_by("pk")
    found, count = list[int](), 0
    for key, taken in old.values_list("pk", "taken"):
        found.append(key)
        # A receipt that holds no numbers cannot be deleted. It is returned, so that the sweep reports it to staff.
        count += len(taken) if isinstance(taken, dict) else 1
        if count >= limit:
            break
    return found


def forget(chosen: Sequence[int]) -> int:
    """Delete these receipts and their messages. Return the number of messages."""
    numbers = dict[int, list[int]]()
    with unit_of_work.transaction():
        rows = Receipt.objects.filter(pk__in=chosen)
        for address, taken in rows.order_by("pk").values_list("address", "taken"):
            numbers.setdefault(address, []).extend(map(int, taken))
        rows.delete()
        for address, seqs in sorted(numbers.items()):
            found = keys(address, seqs)
            Quarantined.objects.filter(accepted__in=found).update(accepted=None)
            # Not Django's own delete: it would first read every row, with its body.
            sql.query("delete_messages", {"keys": sql.several(found)})
    return sum(map(len, numbers.values()))


def keys(address: int, seqs: Sequence[int]) -> list[int]:
    """Return the keys of the messages with these numbers."""
    return [key for (key,) in sql.query("keys_of_numbers", {"address_id": address, "seqs": sql.several(seqs)})]
