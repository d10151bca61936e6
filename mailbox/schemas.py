"""The public shapes: messages, claims and quarantined messages as REST shows them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from core.db.clock import moment
from mailbox.claimed_message import ClaimedMessage
from mailbox.models import Message, Quarantined

if TYPE_CHECKING:
    from mailbox.claims import Claim

#: Bytes of a quarantined message that a list shows; its own page shows all.
PREVIEW_BYTES = 4096
#: The longest body, in characters, that is indented for people.
INDENTED = 16 * 1024


def message(row: Message | ClaimedMessage, address: str) -> dict[str, Any]:
    """Return a message as readers see it."""
    return {
        **envelope(row),
        "address": address,
        "seq": row.seq,
        "tries": row.tries,
        "state": row.state,
        "received_at": moment(row.received_at),
    }


def envelope(row: Message | ClaimedMessage) -> dict[str, Any]:
    """Return a message in the shape in which a sender would send it again."""
    sender = {"session_id": row.sender_session or None, "role": row.sender_role or None}
    return {
        "id": row.message_id,
        "message_kind": row.message_kind,
        "from": {**sender, "claimed": row.claimed_sender},
        "body": row.body,
        "correlation_id": row.correlation_id or None,
        "created_at": moment(row.created_at),
    }


def asked(ask_id: str, reply: Message | None) -> dict[str, Any]:
    """Return the status of an ask, from its answer alone: `{status, ask_id}`, plus the answer once there is one."""
    if reply is None:
        return {"status": "pending", "ask_id": ask_id}
    return {
        "status": "answered",
        "ask_id": ask_id,
        "answer": reply.body.get("answer"),
        "from": {"session_id": reply.sender_session or None, "role": reply.sender_role or None},
        "answered_at": moment(reply.received_at),
    }


def envelope_bytes(row: Message) -> bytes:
    """Return `envelope` as the bytes that quarantine keeps. A long body stays on one line: indents could multiply its
    size.
    """
    indent = 2 if len(row.body_text) <= INDENTED else None
    return json.dumps(envelope(row), ensure_ascii=False, indent=indent).encode()


def claim(claimed: Claim, address: str) -> dict[str, Any]:
    """Return the answer of `drain` and `recover`. `claim` is null if there was nothing to claim."""
    end = claimed.lease_expires_at
    return {
        "claim": str(claimed.token) if claimed.token else None,
        "lease_expires_at": moment(end) if end else None,
        "messages": [message(row, address) for row in claimed.messages],
    }


def extended(held: Claim) -> dict[str, Any]:
    """Return the answer of `extend`. `claim` is null if the claim holds nothing any more."""
    end = held.lease_expires_at
    return {
        "claim": str(held.token) if held.token else None,
        "lease_expires_at": moment(end) if end else None,
        "ids": [row.message_id for row in held.messages],
    }


def quarantined(row: Quarantined, *, whole: bool = False) -> dict[str, Any]:
    """Return a quarantined message. `raw` is base64, because its bytes may be anything."""
    # A list has loaded only the beginning: see `Quarantines.with_preview`.
    raw = bytes(row.raw if whole else getattr(row, "preview", row.raw)[:PREVIEW_BYTES])
    return {
        "id": str(row.id),
        "address": row.address or None,
        "message_id": row.message_id or None,
        "source": row.source,
        "reason": row.reason,
        "position": row.position,
        "size": row.size,
        "state": row.state,
        "created_at": moment(row.created_at),
        "settled_at": moment(row.settled_at) if row.settled_at else None,
        "settled_by": row.settled_by or None,
        "note": row.note or None,
        "raw": base64.b64encode(raw).decode(),
        "raw_is_whole": len(raw) == row.size,
    }
