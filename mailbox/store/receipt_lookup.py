"""Find the receipt that has a message's number, by the message's place, without a search through later receipts."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from mailbox.store import sql

# The first receipt that has the number, in a range of the index and in its order, so that a planner walks the index
# and stops there. A CASE, because for a plain condition a planner expects hardly any match, and sorts all receipts.
FIRST = """
    SELECT m.id, (
        SELECT r.id FROM mailbox_receipt r
        WHERE (r.address_id, r.last_seq) >= (m.address_id, m.seq)
            AND (r.address_id, r.last_seq) <= (m.address_id, 9223372036854775807)
            AND CASE WHEN r.first_seq <= m.seq THEN {has} ELSE false END
        ORDER BY r.address_id, r.last_seq LIMIT 1
    ) FROM mailbox_message m WHERE {which}
"""


def receipts_of(keys: Sequence[int]) -> dict[int, int]:
    """Map the keys of admitted messages to their receipts' keys. For all other messages every receipt is searched."""
    if not keys:
        return {}
    which = sql.among("m.id", keys)
    if connection.vendor == "postgresql":
        has = "r.taken ? m.seq::text"
    else:
        has = """json_type(r.taken, '$."' || m.seq || '"') IS NOT NULL"""
    rows = sql.run_prepared(FIRST.format(has=has, which=which.text), which.params)
    return {key: receipt for key, receipt in rows if receipt is not None}
