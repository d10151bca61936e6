"""The one statement by which a waiting message moves: locked in order, looked at again, changed or taken away.

Its conditions are written for a planner that knows nothing of the table, for the plan of a prepared statement may be
older than the rows. It is left one way: by the index of what waits at an address, in its order, or by the keys named.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from mailbox.store import sql
from mailbox.store.sql import Fragment


class Moved(NamedTuple):
    """A row that was changed or taken away: the message's key, its address's, its number and its tries."""

    message: int
    address: int
    seq: int
    tries: int


MOVED = "message_id, address_id, seq, tries"


@dataclass(frozen=True, slots=True)
class Most:
    """The first so many, and of those only up to the one with which their bodies reach so many bytes."""

    messages: int
    bytes: int


def change(where: Fragment, to: Fragment, most: Most | None = None) -> list[Moved]:
    """Apply `to` to what waits and meets `where`, which is `waiting` or `numbered`; what was changed, in order.

    Rows are locked in the order of their numbers, so that two of these never wait for each other crosswise. Whoever
    had to wait sees each row as it is then, and passes over those that no longer meet the condition.
    """
    return _run({"picked": pick(where, most)}, changing("picked", to, MOVED))


def remove(where: Fragment) -> list[Moved]:
    """Take away what waits and meets `where`: it waits no longer."""
    return _run({"picked": pick(where)}, removing("picked"))


def pick(where: Fragment, most: Most | None = None) -> Fragment:
    """The SELECT that locks them."""
    rows = f"FROM mailbox_waiting WHERE {where.text} ORDER BY address_id, seq"
    if most is None:
        return Fragment(f"SELECT message_id {rows} {sql.for_update()}", where.params)
    if most.messages * settings.WARDROOM["max_body_bytes"] <= most.bytes:
        return Fragment(f"SELECT message_id {rows} LIMIT %s {sql.for_update()}", (*where.params, most.messages))
    locked = f"SELECT message_id, address_id, seq, size {rows} LIMIT %s {sql.for_update()}"
    so_far = "sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING)"
    before = f"SELECT message_id, {so_far} - size AS before FROM ({locked}) l"  # noqa: S608 - our own words
    text = f"SELECT message_id FROM ({before}) b WHERE before < %s"  # noqa: S608 - our own words
    return Fragment(text, (*where.params, most.messages, most.bytes))


def changing(picked: str, to: Fragment, columns: str) -> Fragment:
    """The UPDATE of what a `pick` of this name picked."""
    text = f"UPDATE mailbox_waiting SET {to.text} WHERE {_picked(picked)} RETURNING {columns}"  # noqa: S608
    return Fragment(text, to.params)


def removing(picked: str) -> Fragment:
    """The DELETE of what a `pick` of this name picked."""
    return Fragment(f"DELETE FROM mailbox_waiting WHERE {_picked(picked)} RETURNING {MOVED}")  # noqa: S608


def waiting(project_id: UUID, address: str, which: Fragment) -> Fragment:
    """Those that wait at this address and meet `which`, found in their order.

    As a range of the ordered index, of which a planner expects many rows whatever it knows of the table, and so walks
    it until it has enough. Of an equal address it may expect hardly any; then it collects all that wait and sorts them,
    which costs as much for one message as for a hundred thousand.
    """
    at = _address(project_id, address)
    within = f"(address_id, seq) > ({at.text}, 0) AND (address_id, seq) < ({at.text}, {2**63 - 1})"
    return Fragment(f"{within} AND {which.text}", (*at.params, *at.params, *which.params))


def numbered(project_id: UUID, address: str, keys: Collection[int], which: Fragment) -> Fragment:
    """Those of these keys that wait at this address and meet `which`."""
    rows, at = sql.among("message_id", keys), _address(project_id, address)
    # A CASE, so that no index is chosen for what is in it.
    return Fragment(
        f"{rows.text} AND CASE WHEN {which.text} THEN address_id = {at.text} ELSE false END",
        (*rows.params, *which.params, *at.params),
    )


def _picked(name: str) -> str:
    return "message_id " + sql.one_of(f"SELECT message_id FROM {name}")  # noqa: S608 - our own words


def _address(project_id: UUID, address: str) -> Fragment:
    """The key of this address, whose row proves the project."""
    return Fragment(
        "(SELECT id FROM mailbox_address WHERE project_id = %s AND name = %s)", (sql.uid(project_id), address)
    )


def _run(parts: dict[str, Fragment], last: Fragment) -> list[Moved]:
    whole = sql.together(parts, last)
    return sorted(map(Moved._make, sql.run_prepared(whole.text, whole.params)), key=lambda row: row.seq)
