"""The answers of the mailbox calls: messages, claims and quarantined messages as REST shows them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from core.db.clock import moment
from core.display.redaction import event_copy
from core.web.fields import Id, Moment, name, one_of, says, text
from mailbox import models
from mailbox.claimed_message import ClaimedMessage
from mailbox.envelope import BODY, CREATED_AT, LONGEST_ID, LONGEST_ROLE, REPEATED, VISIBLE
from mailbox.states import KINDS, MessageState, QuarantineState

if TYPE_CHECKING:
    from mailbox.claims import Claim

#: Bytes of a quarantined message that a list shows; its own page shows all.
PREVIEW_BYTES = 4096
#: The longest body, in characters, that is indented for people.
INDENTED = 16 * 1024

Unknown = Annotated[list[str], says("The ids that this claim does not, or no longer, hold.")]


class MessageFrom(Struct, frozen=True):
    session_id: Annotated[str, text(LONGEST_ID)] | None
    role: Annotated[str, text(LONGEST_ROLE, pattern=VISIBLE)] | None
    claimed: Annotated[bool, says("True if only the sender says so.")] | UnsetType = UNSET


class Envelope(Struct, frozen=True):
    """A message in the shape in which a sender would send it again."""

    id: Annotated[str, name(LONGEST_ID, says=REPEATED)]
    message_kind: Annotated[str, one_of(sorted(KINDS))]
    from_: MessageFrom = msgspec.field(name="from")
    body: Annotated[Any, says(BODY)]
    correlation_id: Annotated[str, name(LONGEST_ID)] | None
    created_at: Annotated[Moment, says(CREATED_AT)]


class Message(Envelope, frozen=True):
    address: str
    seq: int
    tries: int
    state: Annotated[str, one_of(MessageState.values)]
    received_at: Moment


class MessagePage(Struct, frozen=True):
    results: list[Message]
    next: str | None


class MessageAccepted(Struct, frozen=True):
    id: str
    address: str
    seq: Annotated[int, says("Its number at its address. It defines the order of first deliveries.")]


class MessageResult(Struct, frozen=True):
    id: str | None
    status: Annotated[int, says("201, or the problem's.")]
    seq: int | UnsetType = UNSET
    problem: dict[str, Any] | UnsetType = UNSET


class MessageResults(Struct, frozen=True):
    results: list[MessageResult]


class MailboxClaim(Struct, frozen=True):
    claim: Annotated[Id | None, says("Null: there was nothing to claim.")]
    lease_expires_at: Moment | None
    messages: list[Message]


class MailboxExtended(Struct, frozen=True):
    claim: Annotated[Id | None, says("Null: the claim no longer holds any message.")]
    lease_expires_at: Moment | None
    ids: Annotated[list[str], says("The ids that it still holds.")]


class MailboxAcked(Struct, frozen=True):
    acked: list[str]
    unknown: Unknown


class MailboxNacked(Struct, frozen=True):
    nacked: list[str]
    unknown: Unknown


class MailboxReplied(Struct, frozen=True):
    id: str
    ask_id: str


class MailboxAsked(Struct, frozen=True):
    status: Annotated[str, one_of(["answered", "pending"], says="Only an answered one has the other fields.")]
    ask_id: str
    answer: Any | UnsetType = UNSET
    from_: MessageFrom | UnsetType = msgspec.field(name="from", default=UNSET)
    answered_at: Moment | UnsetType = UNSET


class MailboxCounts(Struct, frozen=True):
    new: int
    claimed: int
    admitted: int
    quarantined: int
    oldest_age_secs: float | None


class Quarantined(Struct, frozen=True):
    id: Id
    address: str | None
    message_id: str | None
    source: str
    reason: str
    position: Annotated[int | None, says("The position of the fault in the bytes, if known.")]
    size: int
    state: Annotated[str, one_of(QuarantineState.values)]
    created_at: Moment
    settled_at: Moment | None
    settled_by: str | None
    note: str | None
    raw: Annotated[str, says("Base64 of the bytes. A list has only the first ones.")]
    raw_is_whole: bool


class QuarantinePage(Struct, frozen=True):
    results: list[Quarantined]
    next: str | None


def message(row: models.Message | ClaimedMessage, address: str) -> Message:
    """Return a message as readers see it."""
    return Message(
        id=row.message_id,
        message_kind=row.message_kind,
        from_=MessageFrom(row.sender_session or None, row.sender_role or None, row.claimed_sender),
        body=row.body,
        correlation_id=row.correlation_id or None,
        created_at=moment(row.created_at),
        address=address,
        seq=row.seq,
        tries=row.tries,
        state=row.state,
        received_at=moment(row.received_at),
    )


def shown_message(row: models.Message, address: str) -> Message:
    """Return a message for a caller that only looks: its body without secrets. A claim delivers the whole body."""
    return msgspec.structs.replace(message(row, address), body=event_copy(row.body))


def envelope_bytes(row: models.Message) -> bytes:
    """Return the envelope of a message as the bytes that quarantine keeps. A long body stays on one line: indents could
    multiply its size.
    """
    indent = 2 if len(row.body_text) <= INDENTED else None
    shown = Envelope(
        id=row.message_id,
        message_kind=row.message_kind,
        from_=MessageFrom(row.sender_session or None, row.sender_role or None, row.claimed_sender),
        body=row.body,
        correlation_id=row.correlation_id or None,
        created_at=moment(row.created_at),
    )
    return json.dumps(msgspec.to_builtins(shown), ensure_ascii=False, indent=indent).encode()


def asked(ask_id: str, reply: models.Message | None) -> MailboxAsked:
    """Return the status of an ask, from its answer alone: `{status, ask_id}`, plus the answer once there is one."""
    return MailboxAsked("pending" if reply is None else "answered", ask_id, *answer(reply))


def answer(reply: models.Message | None) -> tuple[Any, MessageFrom | UnsetType, str | UnsetType]:
    """Return the answer to an ask, its sender and its time. They are unset until there is one."""
    if reply is None:
        return UNSET, UNSET, UNSET
    sender = MessageFrom(reply.sender_session or None, reply.sender_role or None)
    return reply.body.get("answer"), sender, moment(reply.received_at)


def claim(claimed: Claim, address: str) -> MailboxClaim:
    """Return the answer of `drain` and `recover`. `claim` is null if there was nothing to claim."""
    end = claimed.lease_expires_at
    return MailboxClaim(
        claim=str(claimed.token) if claimed.token else None,
        lease_expires_at=moment(end) if end else None,
        messages=[message(row, address) for row in claimed.messages],
    )


def extended(held: Claim) -> MailboxExtended:
    """Return the answer of `extend`. `claim` is null if the claim holds nothing any more."""
    end = held.lease_expires_at
    return MailboxExtended(
        claim=str(held.token) if held.token else None,
        lease_expires_at=moment(end) if end else None,
        ids=[row.message_id for row in held.messages],
    )


def quarantined(row: models.Quarantined, *, whole: bool = False) -> Quarantined:
    """Return a quarantined message. `raw` is base64, because its bytes may be anything."""
    # A list has loaded only the beginning: see `Quarantines.with_preview`.
    raw = bytes(row.raw if whole else getattr(row, "preview", row.raw)[:PREVIEW_BYTES])
    return Quarantined(
        id=str(row.id),
        address=row.address or None,
        message_id=row.message_id or None,
        source=row.source,
        reason=row.reason,
        position=row.position,
        size=row.size,
        state=row.state,
        created_at=moment(row.created_at),
        settled_at=moment(row.settled_at) if row.settled_at else None,
        settled_by=row.settled_by or None,
        note=row.note or None,
        raw=base64.b64encode(raw).decode(),
        raw_is_whole=len(raw) == row.size,
    )
