"""Which receipt has a message's number: found where the message was, not among all that were written since."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from mailbox.store import sql

# The first of them that has the number, in the order of their index and as a range of it, so that a planner walks it
# until then. A CASE, because of a plain condition it would expect that hardly any meets it, and collect all to sort.
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
    """The keys of admitted messages, each with that of its receipt; of all others every receipt is looked at."""
    if not keys:
        return {}
    which = sql.among("m.id", keys)
    if connection.vendor == "postgresql":
        has = "r.taken ? m.seq::text"
    else:
        has = """json_type(r.taken, '$."' || m.seq || '"') IS NOT NULL"""
    rows = sql.run_prepared(FIRST.format(has=has, which=which.text), which.params)
    return {key: receipt for key, receipt in rows if receipt is not None}
