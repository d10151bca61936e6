"""The one statement by which a waiting message changes its state: locked in order, looked at again, changed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from mailbox import sql
from mailbox.models import Message
from mailbox.sql import Fragment

#: What callers need who only ask which messages moved.
NAMES = "id, seq, message_id"


def move(
    project_id: UUID,
    address: str,
    change: Fragment,
    where: Fragment,
    limit: int | None = None,
    columns: str = "*",
) -> list[Message]:
    """Apply `change` to the waiting messages (new or claimed) of one address that meet `where`; return them in order.

    Rows are locked in the order of their numbers, so that two of these never wait for each other crosswise. Whoever
    had to wait sees each row as it is then, and passes over those that no longer meet the condition.
    """
    found = statement(project_id, address, change, where, limit, columns)
    return sorted(Message.objects.raw(found.text, found.params), key=lambda row: row.seq)


def statement(
    project_id: UUID, address: str, change: Fragment, where: Fragment, limit: int | None, columns: str
) -> Fragment:
    """What `move` runs."""
    picked, changed = parts(project_id, address, change, where, limit, columns)
    return Fragment(f"WITH picked AS MATERIALIZED ({picked.text}) {changed.text}", (*picked.params, *changed.params))


def parts(
    project_id: UUID, address: str, change: Fragment, where: Fragment, limit: int | None, columns: str
) -> tuple[Fragment, Fragment]:
    """The two halves of it: the SELECT that locks, to be called `picked`, and the UPDATE of what it picked."""
    mine, params = scope(project_id, address)
    bound = Fragment("") if limit is None else Fragment("LIMIT %s", (limit,))
    picked = (
        f"SELECT id FROM mailbox_message WHERE {mine} AND waits AND {where.text} "  # noqa: S608 - our own words
        f"ORDER BY seq {bound.text} {sql.for_update()}"
    )
    changed = (
        f"UPDATE mailbox_message SET {change.text} WHERE id IN (SELECT id FROM picked) "  # noqa: S608
        f"RETURNING {columns}"
    )
    return Fragment(picked, (*params, *where.params, *bound.params)), Fragment(changed, change.params)


def scope(project_id: UUID, address: str) -> tuple[str, list[Any]]:
    """The condition that a row belongs to this address of this project, and its parameters.

    Of the message it asks the address alone: with the project too, a planner that knows no numbers yet might read
    all of the project by the index of its ids.
    """
    return (
        "address_id = (SELECT id FROM mailbox_address WHERE project_id = %s AND name = %s)",
        [sql.uid(project_id), address],
    )
