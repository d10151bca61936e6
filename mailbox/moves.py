"""The one statement by which a waiting message changes its state: locked in order, looked at again, changed.

Its conditions are written for a planner that knows nothing of the table, for the plan of a prepared statement may be
older than the rows. It is left one way: by the index of what waits at an address, in its order, or by the ids named.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from mailbox import sql
from mailbox.models import Message
from mailbox.sql import Fragment

#: What callers need who only ask which messages moved.
NAMES = "id, seq, message_id"


def move(where: Fragment, change: Fragment, limit: int | None = None, columns: str = "*") -> list[Message]:
    """Apply `change` to the messages that meet `where`, which is `waiting` or `named`; return them in order.

    Rows are locked in the order of their numbers, so that two of these never wait for each other crosswise. Whoever
    had to wait sees each row as it is then, and passes over those that no longer meet the condition.
    """
    found = statement(where, change, limit, columns)
    return sorted(Message.objects.raw(found.text, found.params), key=lambda row: row.seq)


def statement(where: Fragment, change: Fragment, limit: int | None, columns: str) -> Fragment:
    """What `move` runs."""
    picked, changed = pick(where, limit), changing("picked", change, columns)
    return Fragment(f"WITH picked AS MATERIALIZED ({picked.text}) {changed.text}", (*picked.params, *changed.params))


def pick(where: Fragment, limit: int | None = None) -> Fragment:
    """The SELECT that locks them."""
    bound = Fragment("") if limit is None else Fragment("LIMIT %s", (limit,))
    text = f"SELECT id FROM mailbox_message WHERE {where.text} ORDER BY seq {bound.text} {sql.for_update()}"  # noqa: S608
    return Fragment(text, (*where.params, *bound.params))


def changing(picked: str, change: Fragment, columns: str) -> Fragment:
    """The UPDATE of what a `pick` of this name picked."""
    found = sql.one_of(f"SELECT id FROM {picked}")  # noqa: S608 - our own words
    return Fragment(
        f"UPDATE mailbox_message SET {change.text} WHERE id {found} RETURNING {columns}",  # noqa: S608
        change.params,
    )


def waiting(project_id: UUID, address: str, which: Fragment) -> Fragment:
    """Those at this address that are new or claimed and meet `which`, found in their order.

    `seq > 0` is true of all. It makes the ordered index the cheapest way also where nothing is known of the table;
    to collect all that waits and sort it would cost as much for one message as for a hundred thousand.
    """
    at = _at(project_id, address)
    return Fragment(f"{at.text} AND seq > 0 AND waits AND {which.text}", (*at.params, *which.params))


def named(project_id: UUID, address: str, ids: Collection[str], which: Fragment) -> Fragment:
    """Those of these ids that are at this address and meet `which`."""
    names = sql.among("message_id", sorted(set(ids)))
    fence = _fence(project_id, address, which)
    return Fragment(
        f"project_id = %s AND {names.text} AND {fence.text}", (sql.uid(project_id), *names.params, *fence.params)
    )


def numbered(project_id: UUID, address: str, keys: Collection[int], which: Fragment) -> Fragment:
    """`named`, by the rows' own keys."""
    rows, fence = sql.among("id", keys), _fence(project_id, address, which)
    return Fragment(f"{rows.text} AND {fence.text}", (*rows.params, *fence.params))


def _fence(project_id: UUID, address: str, which: Fragment) -> Fragment:
    # A CASE, so that no index is chosen for what is in it.
    at = _at(project_id, address)
    return Fragment(f"CASE WHEN {which.text} THEN {at.text} ELSE false END", (*which.params, *at.params))


def _at(project_id: UUID, address: str) -> Fragment:
    """At this address of this project. The address's row proves the project."""
    return Fragment(
        "address_id = (SELECT id FROM mailbox_address WHERE project_id = %s AND name = %s)",
        (sql.uid(project_id), address),
    )
