"""A claimed message as its reader gets it: the row as the database returned it, with columns decoded on access."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection

from ledger import unit_of_work
from mailbox.states import MessageState
from mailbox.store import pending, sql


class ClaimedMessage(NamedTuple):
    """One message of a claim. A tuple, because a drain of hundreds of messages makes hundreds of these."""

    seq: int
    pk: int
    message_id: str
    message_kind: str
    body_text: str
    correlation_id: str
    sender_session: str
    sender_role: str
    claimed: bool | int
    tries: int
    created: datetime
    received: datetime
    claim_ends: datetime

    @property
    def state(self) -> MessageState:
        """Always claimed: only claimed messages are read into this class."""
        return MessageState.CLAIMED

    @property
    def body(self) -> Any:
        """The body as the sender's JSON value."""
        # As `message_kinds.stored`, without a call: this runs for each message of a drain.
        try:
            return json.loads(self.body_text)
        except ValueError:
            return self.body_text

    @property
    def claimed_sender(self) -> bool:
        """True if the sender is only the caller's claim, and not proven."""
        return bool(self.claimed)

    @property
    def created_at(self) -> datetime:
        """The time that the sender gave. It decides nothing."""
        return _aware(self.created)

    @property
    def received_at(self) -> datetime:
        """The time of acceptance, by the database's clock."""
        return _aware(self.received)

    @property
    def claim_expires_at(self) -> datetime:
        """The time at which the claim expires, by the database's clock."""
        return _aware(self.claim_ends)


def take(statement: str, params: dict[str, Any]) -> list[ClaimedMessage]:
    """Run a statement that puts pending rows under a claim, and return their messages in the order of acceptance."""
    if connection.vendor == "postgresql":
        return read(sql.query(statement, params))
    with unit_of_work.transaction():
        keys = [row.message for row in pending.move(statement, params)]
        return read(sql.query("claimed_messages", {"keys": sql.several(keys)}))


def read(rows: list[sql.Row]) -> list[ClaimedMessage]:
    """Build messages from rows with these columns, in the order of acceptance."""
    return sorted(map(ClaimedMessage._make, rows), key=itemgetter(0))


def _aware(moment: datetime) -> datetime:
    # SQLite stores UTC without a time zone.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
