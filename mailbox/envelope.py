"""A message before it is accepted: read from JSON, bounded, checked against its kind's schema, encoded for storage."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from core.display.names import UNSEEN, is_name
from core.web import faults, problems
from mailbox import message_kinds
from mailbox.addresses import OWN
from mailbox.states import KINDS, PUBLIC_KINDS
from wardroom import strict

LONGEST_ID = 256
LONGEST_ROLE = 64
NAME = f"{faults.string(LONGEST_ID, 1)}, none of them invisible"
ROLE = f"{faults.string(LONGEST_ROLE)}, none of them invisible"
#: The ids that a sender may give, as JSON Schema writes a pattern.
OTHERS_ID = f"^(?!{OWN})[^{UNSEEN}]+$"
#: A client normalizes a URL that ends with one of these, and so calls another address.
DOTS = frozenset({".", ".."})

Error = dict[str, str]

FIELDS = frozenset({"id", "message_kind", "from", "body", "correlation_id", "created_at"})
#: `claimed` is set by Wardroom. It is accepted here, so that the `from` of a drained message can be sent on unchanged.
SENDER_FIELDS = frozenset({"session_id", "role", "claimed"})

# Made once: `json.dumps` with options makes a new encoder at every call.
_TEXT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_CANON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


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
    return 2 * int(settings.WARDROOM["max_body_bytes"])


def read(value: Any, *, closed: bool = False) -> NewMessage:
    """Read a message from a decoded JSON object of the public shape. 422 with every error. The sender is only a claim.

    Unknown members are dropped. With `closed` they are errors.
    """
    if not isinstance(value, Mapping):
        raise problems.invalid([faults.wrong("", value, faults.OBJECT)], "The message is not valid.")
    errors: list[Error] = []
    if closed:
        errors += beyond(value, FIELDS)
        if isinstance(value.get("from"), Mapping):
            errors += beyond(value["from"], SENDER_FIELDS, "from")
    sender = _sender(value.get("from"), errors)
    message = NewMessage(
        id=_optional_text(value, "id", errors),
        message_kind=_kind(value, errors),
        body=value.get("body"),
        correlation_id=_optional_text(value, "correlation_id", errors),
        created_at=_moment(value.get("created_at"), errors),
        sender_session=sender[0],
        sender_role=sender[1],
        claimed_sender=sender != (None, None),
    )
    if errors:
        raise problems.invalid(errors, "The message is not valid.")
    return message


def beyond(value: Mapping[str, Any], known: frozenset[str], under: str = "") -> list[Error]:
    """Return an error for each member that is not in `known`. Null equals absent."""
    if value.keys() <= known:
        return []
    unknown = (name for name, member in value.items() if name not in known and member is not None)
    return [{"field": faults.step(under, name), "detail": problems.UNKNOWN} for name in unknown]


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
        raise problems.invalid(errors, "The message is not valid.")
    text = body_text(message.body)
    if (
        len(text) > settings.WARDROOM["max_body_bytes"] // 4
        and len(text.encode()) > settings.WARDROOM["max_body_bytes"]
    ):
        limit = settings.WARDROOM["max_body_bytes"]
        detail = f"must be at most {limit} bytes as JSON, and is longer"
        raise problems.invalid([{"field": "body", "detail": detail}], "The message is too large.")
    return ValidatedMessage(message.id or _new_id(), message, text, _content_hash(address, message))


def _new_id() -> str:
    """Return a UUID of version 7. Ids of one moment are neighbours, so a commit of many writes few pages of their
    index.
    """
    moment, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    return str(UUID(int=(moment << 80 | chance) & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62))


def body_text(body: Any) -> str:
    """Return a body as it is stored, and as its size is counted."""
    return _TEXT.encode(body)


def _content_hash(address: str, message: NewMessage) -> str:
    # The sender's clock is left out: a retry with a new timestamp is still the same message.
    sender = [str(message.sender_session or ""), message.sender_role or "", message.claimed_sender]
    content = [address, message.message_kind, message.correlation_id or "", sender, message.body]
    return hashlib.sha256(_CANON.encode(content).encode()).hexdigest()


def _errors(message: NewMessage, kinds: frozenset[str]) -> Iterator[Error]:
    for field, text in (("id", message.id), ("correlation_id", message.correlation_id)):
        if text is not None and not is_name(text, LONGEST_ID):
            yield faults.wrong(field, text, NAME)
    if message.sender_role and not is_name(message.sender_role, LONGEST_ROLE):
        yield faults.wrong("from.role", message.sender_role, ROLE)
    if message.message_kind not in kinds:
        yield faults.wrong("message_kind", message.message_kind, faults.one_of(sorted(kinds)))
        return
    try:
        strict.check(message.body, max_depth=settings.WARDROOM["max_depth"], max_keys=settings.WARDROOM["max_keys"])
    except strict.StrictJSONError as error:
        yield {"field": "body", "detail": f"must be strict JSON: {error}"}
        return
    yield from message_kinds.errors(message.message_kind, message.body)


def _optional_text(value: Mapping[str, Any], field: str, errors: list[Error]) -> str | None:
    found = value.get(field)
    if found is None or isinstance(found, str):
        return found
    errors.append(faults.wrong(field, found, NAME))
    return None


def _kind(value: Mapping[str, Any], errors: list[Error]) -> str:
    kind = value.get("message_kind")
    if isinstance(kind, str):
        return kind
    errors.append(faults.wrong("message_kind", kind, faults.one_of(sorted(PUBLIC_KINDS))))
    return ""


def _sender(value: Any, errors: list[Error]) -> tuple[str | None, str | None]:
    if value is None:
        return None, None
    if not isinstance(value, Mapping):
        errors.append(faults.wrong("from", value, "an object of session_id and role"))
        return None, None
    session = value.get("session_id")
    if session is not None and not (isinstance(session, str) and len(session) <= LONGEST_ID and _is_storable(session)):
        errors.append(faults.wrong("from.session_id", session, faults.string(LONGEST_ID)))
        session = None
    role = value.get("role")
    if role is not None and not isinstance(role, str):
        errors.append(faults.wrong("from.role", role, ROLE))
        role = None
    return session or None, role or None


def _is_storable(text: str) -> bool:
    try:
        strict.check(text)
    except strict.StrictJSONError:
        return False
    return True


def _moment(value: Any, errors: list[Error]) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    errors.append(faults.wrong("created_at", value, faults.MOMENT))
    return None
