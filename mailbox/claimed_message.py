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
from mailbox.store.pending import Most
from mailbox.store.sql import Fragment


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


#: The columns of a `ClaimedMessage`, from a pending row and its message.
COLUMNS = (
    "{0}.seq, m.id, m.message_id, m.message_kind, m.body_text, m.correlation_id, m.sender_session, m.sender_role, "
    "m.claimed_sender, {0}.tries, m.created_at, m.received_at, {0}.claim_expires_at"
)
#: The columns of a pending row that a `ClaimedMessage` needs.
HELD = "message_id, seq, tries, claim_expires_at"


def take(where: Fragment, to: Fragment, most: Most | None = None) -> list[ClaimedMessage]:
    """Run `pending.change`, and return the messages of the changed rows in the order of acceptance."""
    if connection.vendor == "postgresql":
        held = pending.changing("picked", to, HELD)
        found = sql.together({"picked": pending.pick(where, most), "held": held}, select_messages("held"))
        return read(sql.run_prepared(found.text, found.params))
    with unit_of_work.transaction():
        keys = sql.among("w.message_id", [row.message for row in pending.change(where, to, most)])
        columns = COLUMNS.format("w")
        return read(
            sql.run(
                f"SELECT {columns} FROM mailbox_waiting w JOIN mailbox_message m ON m.id = w.message_id "  # noqa: S608
                f"WHERE {keys.text}",
                keys.params,
            )
        )


def select_messages(held: str, more: str = "") -> Fragment:
    """Return the SELECT of the messages of the `HELD` rows of that name.

    LATERAL with OFFSET 0 reads each message by its key, whatever number of rows the planner expects.
    """
    columns = COLUMNS.format(held)
    one = f"SELECT * FROM mailbox_message WHERE id = {held}.message_id OFFSET 0"  # noqa: S608 - our own words
    return Fragment(f"SELECT {columns}{more} FROM {held}, LATERAL ({one}) m")  # noqa: S608


def read(rows: list[sql.Row]) -> list[ClaimedMessage]:
    """Build messages from rows of `COLUMNS`, in the order of acceptance."""
    return sorted(map(ClaimedMessage._make, rows), key=itemgetter(0))


def _aware(moment: datetime) -> datetime:
    # SQLite stores UTC without a time zone.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
