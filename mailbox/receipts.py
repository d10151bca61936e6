"""Receipts: what an acknowledgement leaves behind, one row for all that it took, and how that is found again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.clock import database_now
from ledger import journal
from mailbox import sql
from mailbox.models import Message, Receipt
from mailbox.moves import Moved
from mailbox.sql import Fragment


def noting(done: str, claim: UUID | None, now: datetime | None) -> Fragment:
    """The INSERT for what a `moves.removing` of this name returns; nothing when that was nothing. PostgreSQL only."""
    clock = sql.at(now)
    return Fragment(
        "INSERT INTO mailbox_receipt (address_id, claim, admitted_at, first_seq, last_seq, taken) "  # noqa: S608
        f"SELECT address_id, %s::uuid, {clock.text}, min(seq), max(seq), jsonb_object_agg(seq, tries) "
        f"FROM {done} GROUP BY address_id",
        (claim, *clock.params),
    )


def note(
    rows: Sequence[Moved], *, claim: UUID | None = None, attempt: int | None = None, now: datetime | None = None
) -> None:
    """Write the receipt for these, which are of one address and were taken away in the same transaction."""
    if rows:
        Receipt.objects.create(
            address_id=rows[0].address,
            claim=claim,
            attempt=attempt,
            admitted_at=database_now(now),
            first_seq=min(row.seq for row in rows),
            last_seq=max(row.seq for row in rows),
            taken={str(row.seq): row.tries for row in rows},
        )


def acknowledged(project_id: UUID, address: str, claim: UUID, keys: Collection[int]) -> set[int]:
    """Those messages that this claim has acknowledged."""
    rows = Message.objects.filter(project_id=project_id, address__name=address, pk__in=keys, waiting=None)
    numbers = dict(rows.values_list("seq", "pk"))
    if not numbers:
        return set()
    mine = Receipt.objects.filter(
        address__project=project_id,
        address__name=address,
        claim=claim,
        last_seq__gte=min(numbers),
        first_seq__lte=max(numbers),
    )
    return {pk for seq, pk in numbers.items() if any(each.tries_of(seq) is not None for each in mine)}


def attach(messages: Sequence[Message]) -> None:
    """Give each of these, which are of one address, its `receipt`: with one query for all of them."""
    gone = [message for message in messages if message.held is None and not message.put_away]
    if not gone:
        return
    numbers = [message.seq for message in gone]
    found = Receipt.objects.filter(address=gone[0].address_id, last_seq__gte=min(numbers), first_seq__lte=max(numbers))
    by_number = {int(seq): each for each in found for seq in each.taken}
    for message in gone:
        message.receipt = by_number.get(message.seq)


def purge(before: Any, limit: int) -> int:
    """Forget, oldest first, what was acknowledged before this SQL moment, at most about `limit` messages; how many.

    Receipts are looked through by key, which is the order in which they were written: no index is kept for it.
    """
    first = Receipt.objects.order_by("pk").values("pk")[:limit]
    gone, numbers = [], dict[int, list[int]]()
    with journal.transaction():
        for each in Receipt.objects.filter(pk__in=first, admitted_at__lt=before).order_by("pk"):
            gone.append(each.pk)
            numbers.setdefault(each.address_id, []).extend(map(int, each.taken))
            if sum(map(len, numbers.values())) >= limit:
                break
        Receipt.objects.filter(pk__in=gone).delete()
        # By key alone: bodies are long, and nobody reads them any more.
        for address, seqs in sorted(numbers.items()):
            Message.objects.filter(address=address, seq__in=seqs, waiting=None).only("pk").delete()
    return sum(map(len, numbers.values()))
