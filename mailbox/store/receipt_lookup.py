"""Find the receipt that has a message's number, by the message's place, without a search through later receipts."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox.store import sql


def receipts_of(keys: Sequence[int]) -> dict[int, int]:
    """Map the keys of admitted messages to their receipts' keys. For all other messages every receipt is searched."""
    if not keys:
        return {}
    return {
        key: receipt for key, receipt in sql.query("receipts_of", {"keys": sql.several(keys)}) if receipt is not None
    }
