"""A claimed message as its reader gets it: a row as it came from the database, its columns read when they are asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from mailbox import sql
from mailbox.sql import Fragment
from mailbox.states import MessageState


class Parcel(NamedTuple):
    """One message of a claim. A drain of hundreds makes hundreds of these, so they are tuples."""

    seq: int
    pk: int
    message_id: str
    message_kind: str
    body_text: str
    correlation_id: str
    sender: UUID | str | None
    sender_role: str
    claimed: bool | int
    tries: int
    created: datetime
    received: datetime
    claim_ends: datetime

    @property
    def state(self) -> MessageState:
        """Claimed, or it would not be here."""
        return MessageState.CLAIMED

    @property
    def body(self) -> Any:
        """The body as the sender's JSON value."""
        return json.loads(self.body_text)

    @property
    def sender_session(self) -> UUID | None:
        """The sending session, if a session sent it."""
        return UUID(self.sender) if isinstance(self.sender, str) else self.sender

    @property
    def claimed_sender(self) -> bool:
        """Whether the sender is only what a caller said of itself."""
        return bool(self.claimed)

    @property
    def created_at(self) -> datetime:
        """The sender's word, which decides nothing."""
        return _aware(self.created)

    @property
    def received_at(self) -> datetime:
        """When it was accepted, by the database's clock."""
        return _aware(self.received)

    @property
    def claim_expires_at(self) -> datetime:
        """When the claim lapses, by the database's clock."""
        return _aware(self.claim_ends)


#: What a statement must return for `read`.
COLUMNS = (
    "seq, id, message_id, message_kind, body_text, correlation_id, sender_session, sender_role, claimed_sender, tries, "
    "created_at, received_at, claim_expires_at"
)


def run(statement: Fragment) -> list[Parcel]:
    """What a statement returns in `COLUMNS`, in the order of acceptance."""
    return read(sql.run_prepared(statement.text, statement.params, keep=False))


def read(rows: list[sql.Row]) -> list[Parcel]:
    """Rows of `COLUMNS`, in the order of acceptance."""
    return sorted(map(Parcel._make, rows), key=itemgetter(0))


def _aware(moment: datetime) -> datetime:
    # SQLite keeps UTC and does not say so.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
