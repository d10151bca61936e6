"""Run the statements that move pending rows: each locks them in order, checks again, and changes or deletes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from core.limits import LIMITS
from mailbox.store import sql
from mailbox.store.sql import Row


class Moved(NamedTuple):
    """A changed or deleted row: the message's key, its address's key, its number and its tries."""

    message: int
    address: int
    seq: int
    tries: int


class Most(NamedTuple):
    """The limit of a claim: a number of messages, and a number of bytes. The message that reaches it is the last."""

    messages: int
    bytes: int


def params(project_id: UUID, address: str, **more: Any) -> dict[str, Any]:
    """Return the parameters that most statements take, and these."""
    common = {"now": sql.now(), "project": sql.uid(project_id), "address": address, "tries": LIMITS.claim_tries}
    return common | more


def move(name: str, params: dict[str, Any]) -> list[Moved]:
    """Run a statement that returns moved rows. Return them in order."""
    return moved(sql.query(name, params))


def moved(rows: list[Row]) -> list[Moved]:
    """Return these rows of a statement in the order of their numbers."""
    return sorted(map(Moved._make, rows), key=lambda row: row.seq)


def remove(project_id: UUID, address: str, keys: Collection[int]) -> list[Moved]:
    """Delete the pending rows of these keys at this address, in any state."""
    return move("remove_named", params(project_id, address, keys=sql.several(keys)))


def remove_new(project_id: UUID, address: str, keys: Collection[int]) -> list[Moved]:
    """Delete the pending rows of these keys at this address that nobody has claimed."""
    return move("remove_named_new", params(project_id, address, keys=sql.several(keys)))
