"""Reading a session's address: its live connection sends unadmitted messages, and reports their admission."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger import unit_of_work
from mailbox.models import Address, Message, Receipt, Waiting
from mailbox.states import MessageState
from mailbox.store import pending, receipts, sql

MOST = 1000
RECEIPTS_AT_ONCE = 20


class Admission(NamedTuple):
    """One admitted message without its body. Its receipt and number are its place; `size` is the length of its body in
    bytes.
    """

    receipt: int
    seq: int
    message: int
    message_id: str
    size: int
    at: datetime


def unadmitted(project_id: UUID, address: str, after_seq: int = 0, limit: int = 100) -> list[Message]:
    """Return the messages that the agent has not taken in yet, oldest first. Sending them changes nothing."""
    rows = Waiting.objects.filter(
        address__project=project_id, address__name=address, state=MessageState.NEW, seq__gt=after_seq
    ).select_related("message")
    return [row.message for row in rows.order_by("seq")[: min(limit, MOST)]]


def admissions(project_id: UUID, address: str, receipt: int = 0, seq: int = 0) -> Iterator[Admission]:
    """Yield the messages that entered the agent's history after this place, in the order of admission, as long as they
    are kept.

    A receipt is written while the session's row is locked, so receipt keys follow the order of commits. A later receipt
    never comes before a place that was read. Bodies are not loaded.
    """
    at = Address.objects.filter(project=project_id, name=address).values_list("pk", flat=True).first()
    kept = Receipt.objects.filter(address=at, attempt__isnull=False).order_by("pk")
    while at is not None:
        found = list(kept.filter(pk__gte=receipt).values_list("pk", "admitted_at", "taken")[:RECEIPTS_AT_ONCE])
        numbers = {key: sorted(n for n in map(int, taken) if (key, n) > (receipt, seq)) for key, _, taken in found}
        keys = receipts.keys(at, [number for some in numbers.values() for number in some])
        rows = Message.objects.filter(pk__in=keys).annotate(size=sql.Bytes("body_text"))
        by_number = {row[0]: row for row in rows.values_list("seq", "pk", "message_id", "size")}
        for key, admitted_at, _ in found:
            for number in numbers[key]:
                if number in by_number:
                    yield Admission(key, *by_number[number], admitted_at)
        if len(found) < RECEIPTS_AT_ONCE:
            return
        receipt, seq = found[-1][0] + 1, 0


def admit(project_id: UUID, address: str, ids: Collection[str], attempt: int) -> list[str]:
    """Admit these messages to the history of this attempt. Return the newly admitted ones: each is admitted once (I2).

    The caller must have checked that the attempt is current; it holds the session's row in the same transaction.
    """
    if not ids:
        return []
    found = Message.objects.filter(project_id=project_id, message_id__in=set(ids))
    names = dict(found.values_list("pk", "message_id"))
    with unit_of_work.transaction():
        rows = pending.remove_new(project_id, address, list(names))
        receipts.note(rows, attempt=attempt)
    return [names[row.message] for row in rows]
