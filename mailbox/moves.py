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
    mine, params = scope(project_id, address)
    bound = "" if limit is None else "LIMIT %s"
    statement = f"""
        WITH picked AS MATERIALIZED (
            SELECT id FROM mailbox_message WHERE {mine} AND state IN ('new', 'claimed') AND {where.text}
            ORDER BY seq {bound} {sql.for_update()}
        )
        UPDATE mailbox_message SET {change.text} WHERE id IN (SELECT id FROM picked) RETURNING {columns}
    """  # noqa: S608 - placeholders and our own words
    values = [*params, *where.params, *([] if limit is None else [limit]), *change.params]
    return sorted(Message.objects.raw(statement, values), key=lambda row: row.seq)


def scope(project_id: UUID, address: str) -> tuple[str, list[Any]]:
    """The condition that a row belongs to this address of this project, and its parameters."""
    project = sql.uid(project_id)
    return (
        "project_id = %s AND address_id = (SELECT id FROM mailbox_address WHERE project_id = %s AND name = %s)",
        [project, project, address],
    )
