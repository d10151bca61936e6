"""The envelope of a Bamboo mailbox, the reference's, in our words."""

from __future__ import annotations

from typing import Any

#: What quarantine calls the files of such a mailbox.
SOURCE = "maildir"


def ours(value: Any) -> Any:
    """A decoded message of either shape, in ours."""
    if not isinstance(value, dict):
        return value
    return {**value, "message_kind": value.get("message_kind", value.get("kind"))}
