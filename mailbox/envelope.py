"""A message before it is accepted: read from JSON, bounded, checked against its kind's schema, encoded for storage."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import Meta

from core.display.names import UNSEEN, is_name
from core.limits import LIMITS
from core.web import faults, problems, request_body
from core.web.fields import Body, one_of, says, shaped, text
from core.web.openapi import values
from mailbox import message_kinds
from mailbox.addresses import OWN
from mailbox.states import KINDS, PUBLIC_KINDS
from wardroom import strict

LONGEST_ID = 256
LONGEST_ROLE = 64
NAME = f"{faults.string(LONGEST_ID, 1)}, none of them invisible"
ROLE = f"{faults.string(LONGEST_ROLE)}, none of them invisible"
#: The ids that a sender may give, and texts that hold only visible characters, as JSON Schema writes a pattern.
OTHERS_ID, VISIBLE = f"^(?!{OWN})[^{UNSEEN}]+$", f"^[^{UNSEEN}]*$"
#: A client normalizes a URL that ends with one of these, and so calls another address.
DOTS = frozenset({".", ".."})

#: Descriptions of fields in the OpenAPI document.
REPEATED = "A repeated id is the same message."
BODY = "At most 256 KiB and 64 levels; ask: {question, mode}, reply: {answer}."
CREATED_AT = "Stored and shown; it decides nothing."

SENDER = Meta(extra={"right": "an object of session_id and role"})
INVALID = "The message is not valid."

Error = dict[str, str]

# Made once: `json.dumps` with options makes a new encoder at every call.
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_CANON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _moment(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _wrong_moment(value: str) -> str | None:
    return None if _moment(value) else faults.must(faults.MOMENT, value)


def _wrong_session(value: str) -> str | None:
    return None if strict.is_storable(value) else faults.must(faults.string(LONGEST_ID), value)


TIME = shaped(values.MOMENT, says=CREATED_AT, right=faults.MOMENT, check=_wrong_moment)


class MessageSender(Body, frozen=True):
    session_id: Annotated[str, text(LONGEST_ID, check=_wrong_session)] | None = None
    role: Annotated[str, shaped(values.text(LONGEST_ROLE, pattern=VISIBLE), right=ROLE)] | None = None
    #: Set by Wardroom. It is accepted here, so that the `from` of a drained message can be sent on unchanged.
    claimed: Annotated[Any, says("Ignored.")] = None


class SentMessage(Body, frozen=True, kw_only=True):
    """A message as its sender sends it."""

    id: Annotated[str, shaped(values.name(LONGEST_ID, pattern=OTHERS_ID), right=NAME, says=REPEATED)] | None = None
    message_kind: Annotated[str, one_of(sorted(PUBLIC_KINDS))]
    from_: Annotated[MessageSender, SENDER] | None = msgspec.field(name="from", default=None)
    body: Annotated[Any, shaped(values.any_json(), says=BODY, required=True)] = None
    correlation_id: Annotated[str, shaped(values.name(LONGEST_ID), right=NAME)] | None = None
    created_at: Annotated[str, TIME] | None = None

    component: ClassVar[str] = "NewMessage"
    rules: ClassVar[dict[str, Any]] = message_kinds.RULES


class OpenSender(MessageSender, frozen=True, forbid_unknown_fields=False):
    """The same from another system. Unknown members are dropped, because a newer peer may send them."""


class OpenMessage(SentMessage, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The same from another system."""

    from_: Annotated[OpenSender, SENDER] | None = msgspec.field(name="from", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message as its sender gives it. Without an `id` it gets one; then a retry cannot be recognized."""

    message_kind: str
    body: Any
    id: str | None = None
    correlation_id: str | None = None
    created_at: datetime | None = None
    #: A session's id; for a claimed sender, any text.
    sender_session: UUID | str | None = None
    sender_role: str | None = None
    claimed_sender: bool = False


@dataclass(frozen=True, slots=True)
class ValidatedMessage:
    """A validated message: its stored text, and the hash that tells a retry from another message."""

    id: str
    message: NewMessage
    body_text: str
    content_hash: str


def most_bytes() -> int:
    """Return the size limit of a message to read. The envelope needs some room beside the body."""
    return 2 * int(LIMITS.max_body_bytes)


def read(value: Any, *, closed: bool = False) -> NewMessage:
    """Read a message from a decoded JSON object of the public shape. 422 with every error. The sender is only a claim.

    Unknown members are dropped. With `closed` they are errors.
    """
    kind = SentMessage if closed else OpenMessage
    try:
        # Nearly every message is right as it is. Only a refusal, or a null in place of nothing, costs more.
        sent = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        sent = request_body.convert(value, kind, INVALID)
    return new_message(sent)


def new_message(sent: SentMessage) -> NewMessage:
    """Return the message of a body. 422 for a time or a session's id that msgspec alone does not check."""
    moment = None if sent.created_at is None else _moment(sent.created_at)
    sender = sent.from_ or MessageSender()
    session = sender.session_id or None
    if (moment is None) != (sent.created_at is None) or not (session is None or strict.is_storable(session)):
        raise problems.invalid(list(request_body.errors(msgspec.to_builtins(sent), type(sent))), INVALID)
    return NewMessage(
        id=sent.id,
        message_kind=sent.message_kind,
        body=sent.body,
        correlation_id=sent.correlation_id,
        created_at=moment,
        sender_session=session,
        sender_role=sender.role or None,
        claimed_sender=bool(session or sender.role),
    )


def validate(address: str, message: NewMessage, *, internal: bool = False) -> ValidatedMessage:
    """Validate everything that storage or a reader depends on. 422 with every error. Pure: touches no row."""
    errors = list(_errors(message, KINDS if internal else PUBLIC_KINDS))
    if not internal and message.id is not None and message.id.startswith(OWN):
        errors.append({"field": "id", "detail": f"ids that begin with {OWN} are Wardroom's own"})
    if message.message_kind == "ask" and message.id in DOTS:
        errors.append({"field": "id", "detail": "of an ask: not dots alone, which no address can end with"})
    correlation_id = message.correlation_id or ""
    if message.message_kind == "ask" and correlation_id.startswith(OWN) and correlation_id != message.id:
        # An answer names its question by this id: it would become the answer of another sender's question.
        errors.append({"field": "correlation_id", "detail": "of an ask: not that of one of Wardroom's own"})
    if errors:
        raise problems.invalid(errors, INVALID)
    text = body_text(message.body)
    if len(text) > LIMITS.max_body_bytes // 4 and len(text.encode()) > LIMITS.max_body_bytes:
        limit = LIMITS.max_body_bytes
        detail = f"must be at most {limit} bytes as JSON, and is longer"
        raise problems.invalid([{"field": "body", "detail": detail}], "The message is too large.")
    # The sender's clock is left out: a retry with a new timestamp is still the same message.
    sender = [str(message.sender_session or ""), message.sender_role or "", message.claimed_sender]
    content = [address, message.message_kind, correlation_id, sender, message.body]
    content_hash = hashlib.sha256(_CANON.encode(content).encode()).hexdigest()
    id = message.id
    if not id:
        # A UUID of version 7. Ids of one moment are neighbours, so a commit of many writes few pages of their index.
        moment, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
        id = str(UUID(int=(moment << 80 | chance) & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62))
    return ValidatedMessage(id, message, text, content_hash)


def body_text(body: Any) -> str:
    """Return a body as it is stored, and as its size is counted."""
    return _TEXT.encode(body)


def _errors(message: NewMessage, kinds: frozenset[str]) -> Iterator[Error]:
    for field, name in (("id", message.id), ("correlation_id", message.correlation_id)):
        if name is not None and not is_name(name, LONGEST_ID):
            yield faults.wrong(field, name, NAME)
    if message.sender_role and not is_name(message.sender_role, LONGEST_ROLE):
        yield faults.wrong("from.role", message.sender_role, ROLE)
    if message.message_kind not in kinds:
        yield faults.wrong("message_kind", message.message_kind, faults.one_of(sorted(kinds)))
        return
    try:
        strict.check(message.body, max_depth=LIMITS.max_depth, max_keys=LIMITS.max_keys)
    except strict.StrictJSONError as error:
        yield {"field": "body", "detail": f"must be strict JSON: {error}"}
        return
    yield from message_kinds.errors(message.message_kind, message.body)
