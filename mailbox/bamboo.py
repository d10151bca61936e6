"""The envelope of a Bamboo mailbox, the reference's, in our words."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mailbox import letters

#: What quarantine calls the files of such a mailbox.
SOURCE = "maildir"


def ours(value: Any) -> Any:
    """A decoded message of either shape, in ours. The reference's session ids are any text; ours are UUIDs."""
    if not isinstance(value, dict):
        return value
    found = {**value, "message_kind": value.get("message_kind", value.get("kind"))}
    sender = value.get("from")
    if isinstance(sender, dict) and isinstance(sender.get("session_id"), str) and not _is_uuid(sender["session_id"]):
        told = f"{sender.get('role') or ''} {sender['session_id']}".strip()
        found["from"] = {"role": told[: letters.LONGEST_ROLE]}
    return found


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
