"""The statements that move pending rows: each locks rows in order, checks them again, then changes or deletes them.

The conditions are written for a planner that knows nothing of the table, because the plan of a prepared statement may
be older than the rows. A planner has one way only: the index of pending rows at an address, in order, or the named
keys.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from core.limits import LIMITS
from mailbox.store import sql
from mailbox.store.sql import Fragment


class Moved(NamedTuple):
    """A changed or deleted row: the message's key, its address's key, its number and its tries."""

    message: int
    address: int
    seq: int
    tries: int


MOVED = "message_id, address_id, seq, tries"


@dataclass(frozen=True, slots=True)
class Most:
    """The limit of a pick: a number of messages, and a number of bytes. The message that reaches it is the last."""

    messages: int
    bytes: int


def change(where: Fragment, to: Fragment, most: Most | None = None) -> list[Moved]:
    """Apply `to` to the pending rows that meet `where`. Return the changed rows in order.

    `where` is made by `waiting` or `numbered`. Rows are locked in the order of their numbers, so that two of these
    statements never deadlock. A statement that had to wait reads each row again, and skips rows that no longer meet the
    condition.
    """
    return _run({"picked": pick(where, most)}, changing("picked", to, MOVED))


def remove(where: Fragment) -> list[Moved]:
    """Delete the pending rows that meet `where`. Return the deleted rows in order."""
    return _run({"picked": pick(where)}, removing("picked"))


def pick(where: Fragment, most: Most | None = None) -> Fragment:
    """Return the SELECT that locks the rows."""
    rows = f"FROM mailbox_waiting WHERE {where.text} ORDER BY address_id, seq"
    if most is None:
        return Fragment(f"SELECT message_id {rows} {sql.for_update()}", where.params)
    if most.messages * LIMITS.max_body_bytes <= most.bytes:
        return Fragment(f"SELECT message_id {rows} LIMIT %s {sql.for_update()}", (*where.params, most.messages))
    locked = f"SELECT message_id, address_id, seq, size {rows} LIMIT %s {sql.for_update()}"
    so_far = "sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING)"
    before = f"SELECT message_id, {so_far} - size AS before FROM ({locked}) l"  # noqa: S608 - our own words
    text = f"SELECT message_id FROM ({before}) b WHERE before < %s"  # noqa: S608 - our own words
    return Fragment(text, (*where.params, most.messages, most.bytes))


def changing(picked: str, to: Fragment, columns: str) -> Fragment:
    """Return the UPDATE of the rows that the `pick` of this name selected."""
    text = f"UPDATE mailbox_waiting SET {to.text} WHERE {_picked(picked)} RETURNING {columns}"  # noqa: S608
    return Fragment(text, to.params)


def removing(picked: str) -> Fragment:
    """Return the DELETE of the rows that the `pick` of this name selected."""
    return Fragment(f"DELETE FROM mailbox_waiting WHERE {_picked(picked)} RETURNING {MOVED}")  # noqa: S608


def waiting(project_id: UUID, address: str, which: Fragment) -> Fragment:
    """Match the pending rows of this address that meet `which`, in the order of the index.

    The condition is a range of the ordered index. A planner expects many rows of a range, whatever it knows of the
    table, so it walks the index until it has enough. It may expect hardly any rows of an equal address. Then it
    collects and sorts all pending rows, which costs as much for one message as for a hundred thousand.
    """
    at = _address(project_id, address)
    within = f"(address_id, seq) > ({at.text}, 0) AND (address_id, seq) < ({at.text}, {2**63 - 1})"
    return Fragment(f"{within} AND {which.text}", (*at.params, *at.params, *which.params))


def numbered(project_id: UUID, address: str, keys: Collection[int], which: Fragment) -> Fragment:
    """Match the pending rows of these keys at this address that meet `which`."""
    rows, at = sql.among("message_id", keys), _address(project_id, address)
    # A CASE, so that the planner chooses no index for the conditions inside it.
    return Fragment(
        f"{rows.text} AND CASE WHEN {which.text} THEN address_id = {at.text} ELSE false END",
        (*rows.params, *which.params, *at.params),
    )


def _picked(name: str) -> str:
    return "message_id " + sql.one_of(f"SELECT message_id FROM {name}")  # noqa: S608 - our own words


def _address(project_id: UUID, address: str) -> Fragment:
    """Return the key of this address. Its row proves the project."""
    return Fragment(
        "(SELECT id FROM mailbox_address WHERE project_id = %s AND name = %s)", (sql.uid(project_id), address)
    )


def _run(parts: dict[str, Fragment], last: Fragment) -> list[Moved]:
    whole = sql.together(parts, last)
    return sorted(map(Moved._make, sql.run_prepared(whole.text, whole.params)), key=lambda row: row.seq)
