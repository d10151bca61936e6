"""What an attempt is told of the ones before it: the stored transcript and every message admitted, oldest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from accounts.batches import in_batches
from mailbox import bodies, reading
from mailbox.models import Message
from orchestration.models import Session, TranscriptItem

Dated = tuple[datetime, int, dict[str, Any]]


def entries(session: Session, start: int = 0) -> Iterator[dict[str, Any]]:
    """`{role, content, id?}` of the whole session from its `start`th on.

    A message that the transcript already holds (an item with its id) is not told twice. A question of the mode `query`
    is no part of it: it was answered beside the work. Entries are only ever
    added at the end, so that a number goes on meaning the same place.
    """
    merged = heapq.merge(_items(session), _messages(session), key=lambda dated: dated[:2])
    return islice((entry for _, _, entry in merged), start, None)


def fitting(session: Session, budget: int, start: int = 0) -> tuple[list[dict[str, Any]], int | None]:
    """As many entries as `budget` bytes hold, and the number of the next one if there are more.

    One entry alone always fits: a reader that pages on gets to the end.
    """
    found: list[dict[str, Any]] = []
    for entry in entries(session, start):
        budget -= len(msgspec.json.encode(entry)) + 1
        if budget < 0 and found:
            return found, start + len(found)
        found.append(entry)
    return found, None


def _items(session: Session) -> Iterator[Dated]:
    for item in in_batches(TranscriptItem.objects.filter(session=session), ["attempt", "position"], 200):
        entry = {"role": item.role, "content": item.content}
        yield item.at, 0, entry | ({"id": item.item_id} if item.item_id else {})


def _messages(session: Session) -> Iterator[Dated]:
    told = set(TranscriptItem.objects.filter(session=session).exclude(item_id="").values_list("item_id", flat=True))
    for message in reading.admitted_since(session.project_id, session.address):
        if message.message_id not in told and not _is_query(message):
            yield message.admitted_at or message.created_at, 1, _told(message)


def _is_query(message: Message) -> bool:
    return message.message_kind == "ask" and (message.body.get("mode") or "query") == "query"


def _told(message: Message) -> dict[str, Any]:
    return {
        "role": "user",
        "content": bodies.text(message.body),
        "id": message.message_id,
        "message_kind": message.message_kind,
        "correlation_id": message.correlation_id or None,
    }
