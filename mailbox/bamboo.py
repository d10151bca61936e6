"""Convert the envelope of a Bamboo mailbox, the reference system, to ours."""

from __future__ import annotations

from typing import Any

#: The name of this source in quarantine.
SOURCE = "maildir"


def to_envelope(value: Any) -> Any:
    """Return a decoded message of either shape in our shape."""
    if not isinstance(value, dict):
        return value
    return {**value, "message_kind": value.get("message_kind", value.get("kind"))}
