"""The bodies of the mailbox calls. `mailbox.envelope` describes the messages themselves."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from core.web import faults
from core.web.fields import Body, says, shaped, text
from core.web.openapi import values
from mailbox import message_kinds
from mailbox.claims import LONGEST_DELAY, LONGEST_LEASE, MOST, SHORTEST_LEASE
from mailbox.envelope import LONGEST_ID

MOST_AT_ONCE = 1000
LONGEST_NOTE = 10_000
MANY = faults.array(MOST_AT_ONCE, 1, "message")

Claim = Annotated[str, text(says="The claim that `drain` returned.")]
Consumer = Annotated[str, text(LONGEST_ID, says="The consumer; it may `recover` its claims early.")]
Lease = Annotated[float, Meta(ge=SHORTEST_LEASE, le=LONGEST_LEASE, description="Seconds; the default is 60.")]
Ids = Annotated[list[Annotated[str, text(LONGEST_ID)]], Meta(max_length=MOST)]


class MailboxDrain(Body, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 100
    lease_secs: Lease | None = None
    consumer: Consumer = ""


class MailboxRecover(Body, frozen=True):
    lease_secs: Lease | None = None
    consumer: Consumer = ""


class MailboxAck(Body, frozen=True):
    claim: Claim
    ids: Ids


class MailboxNack(Body, frozen=True):
    claim: Claim
    ids: Ids
    delay_secs: Annotated[float, Meta(ge=0, le=LONGEST_DELAY)] = 0


class MailboxExtend(Body, frozen=True):
    claim: Claim
    lease_secs: Lease | None = None


class MailboxReply(Body, frozen=True):
    ask_id: Annotated[str, text(says="The id of an ask that was drained here.")]
    answer: Annotated[Any, shaped(values.any_json(), right=message_kinds.ANSWER)]


class NewMessages(Body, frozen=True):
    # An invalid message is refused alone, so any value may be in the list.
    messages: Annotated[
        list[Annotated[Any, shaped(values.reference("JsonValue"))]],
        Meta(min_length=1, max_length=MOST_AT_ONCE, description="Each as in NewMessage.", extra={"right": MANY}),
    ]


class QuarantineRequeue(Body, frozen=True):
    message: Annotated[Any, says("The edited message; the default is the stored one.")] = None
    address: Annotated[str, text(says="Its address, if the message names none.")] | None = None


class QuarantineDiscard(Body, frozen=True):
    note: Annotated[str, text(LONGEST_NOTE, pattern=values.NOT_BLANK, says="The reason.")]
