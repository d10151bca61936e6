"""Build the history for an attempt: the stored transcript and all admitted messages, oldest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from core.db.batches import in_batches
from mailbox import message_kinds, session_inbox
from mailbox.models import Message
from orchestration.models import Session, TranscriptItem
from wardroom.queries import is_query

#: The number of rows read, and of entries loaded, in one query.
AT_ONCE = 500
#: The largest bigint. No place is beyond it.
LARGEST = 2**63 - 1

Entry = dict[str, Any]


class Place(NamedTuple):
    """The position of a reader: the last transcript item and the last admission that it has passed.

    Both sequences grow only at their end. So a place stays valid when rows are added or deleted.
    """

    attempt: int = 0
    position: int = 0
    receipt: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @classmethod
    def read(cls, text: str) -> Place | None:
        """Return the place that `str` wrote, or None for any other text.

        Attempts and receipts count from 1, so a number within one of them needs it.
        """
        parts = text.split(".") if len(text) <= 100 and text.isascii() else []
        if len(parts) != len(cls._fields) or not all(part.isdigit() and len(part) < 20 for part in parts):
            return None
        place = cls._make(map(int, parts))
        is_whole = (place.attempt or not place.position) and (place.receipt or not place.seq)
        return place if is_whole and max(place) <= LARGEST else None


class _Head(NamedTuple):
    """An entry before it is loaded: its time, its approximate size, and the reader's place after it."""

    at: datetime
    size: int
    item: int | None
    message: int | None
    place: Place


def page(session: Session, budget: int, after: Place | None = None) -> tuple[list[Entry], Place | None]:
    """Return as many `{role, content, id?}` as fit into `budget` bytes, and the next place if there may be more.

    A single entry always fits, so a reader that pages on reaches the end. Sizes are read first: at most about twice the
    budget plus one entry is loaded.

    A message is left out if its id is also the id of a transcript item. A question of the mode `query` is not part of
    the history, because it was answered beside the work.
    """
    found: list[Entry] = []
    place = after or Place()
    for group in _groups(_heads(session, place), budget):
        for head, entry in zip(group, _load(session, group), strict=True):
            if entry is not None:
                budget -= len(msgspec.json.encode(entry)) + 1
                if budget < 0 and found:
                    return found, place
                found.append(entry)
            place = head.place
    return found, None


def _groups(heads: Iterator[_Head], budget: int) -> Iterator[list[_Head]]:
    """Yield groups of heads with entries that fit into the budget together. A larger entry is a group of its own."""
    group: list[_Head] = []
    room = budget
    for head in heads:
        if group and (head.size > room or len(group) == AT_ONCE):
            yield group
            group, room = [], budget
        group.append(head)
        room -= head.size
    if group:
        yield group


def _heads(session: Session, place: Place) -> Iterator[_Head]:
    """Yield items and messages by time. Each sequence keeps its own order, even where a clock went back."""
    written = TranscriptItem.objects.filter(session=session).values_list(
        "pk", "attempt", "position", "at", "size", named=True
    )
    items = in_batches(written, ("attempt", "position"), AT_ONCE, after=(place.attempt, place.position))
    messages = session_inbox.admissions(session.project_id, session.address, place.receipt, place.seq)
    item, message = next(items, None), next(messages, None)
    while item or message:
        if item and (message is None or item.at <= message.at):
            place = place._replace(attempt=item.attempt, position=item.position)
            yield _Head(item.at, item.size, item.pk, None, place)
            item = next(items, None)
        elif message:
            place = place._replace(receipt=message.receipt, seq=message.seq)
            yield _Head(message.at, message.size, None, message.message, place)
            message = next(messages, None)


def _load(session: Session, group: Sequence[_Head]) -> list[Entry | None]:
    """Return the entry of each head, or None if it is not part of the history or was deleted meanwhile."""
    items = TranscriptItem.objects.in_bulk([head.item for head in group if head.item])
    messages = Message.objects.in_bulk([head.message for head in group if head.message])
    ids = [message.message_id for message in messages.values()]
    in_transcript = set(
        TranscriptItem.objects.filter(session=session, item_id__in=ids)
        .exclude(item_id="")
        .values_list("item_id", flat=True)
    )
    entries: list[Entry | None] = []
    for head in group:
        entry: Entry | None = None
        item, message = items.get(head.item or 0), messages.get(head.message or 0)
        if item:
            entry = {"role": item.role, "content": item.content} | ({"id": item.item_id} if item.item_id else {})
        elif message and message.message_id not in in_transcript and not is_query(message.message_kind, message.body):
            entry = {
                "role": "user",
                "content": message_kinds.text(message.body),
                "id": message.message_id,
                "message_kind": message.message_kind,
                "correlation_id": message.correlation_id or None,
            }
        entries.append(entry)
    return entries
