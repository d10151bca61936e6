"""The bodies of the mailbox calls, as typed values. Messages themselves are read by `mailbox.letters`."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from accounts import problems
from accounts.problems import Problem
from mailbox import letters
from mailbox.claims import MOST
from mailbox.letters import LONGEST_ID, NewMessage

MOST_AT_ONCE = 1000
LONGEST_LEASE = 12 * 3600
LONGEST_DELAY = 30 * 86400

Consumer = Annotated[str, Meta(max_length=LONGEST_ID)]
Lease = Annotated[float, Meta(gt=0, le=LONGEST_LEASE)]
Ids = Annotated[list[Annotated[str, Meta(max_length=LONGEST_ID)]], Meta(max_length=MOST)]


class Drain(msgspec.Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 100
    lease_secs: Lease | None = None
    consumer: Consumer = ""


class Recover(msgspec.Struct, frozen=True):
    lease_secs: Lease | None = None
    consumer: Consumer = ""


class Ack(msgspec.Struct, frozen=True):
    claim: str
    ids: Ids


class Nack(msgspec.Struct, frozen=True):
    claim: str
    ids: Ids
    delay_secs: Annotated[float, Meta(ge=0, le=LONGEST_DELAY)] = 0


class Extend(msgspec.Struct, frozen=True):
    claim: str
    lease_secs: Lease | None = None


class Reply(msgspec.Struct, frozen=True):
    ask_id: str
    answer: Any = None


class Requeue(msgspec.Struct, frozen=True):
    message: Any = None
    address: str | None = None


class Discard(msgspec.Struct, frozen=True):
    note: Annotated[str, Meta(max_length=10_000)]


Order = TypeVar("Order", bound=msgspec.Struct)


def read(kind: type[Order], data: Any) -> Order:
    """The order in a decoded body, or 422 with the field that is wrong. Null equals absent."""
    if isinstance(data, dict):
        data = {name: value for name, value in data.items() if value is not None}
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        raise problems.invalid([{"field": path.rstrip("`").lstrip("."), "detail": detail}]) from None


def messages(data: Any) -> tuple[list[NewMessage | Problem], bool]:
    """The messages in a body, and whether it was a list of many; one that cannot be read stands as its problem."""
    if not isinstance(data, dict) or "messages" not in data:
        return [letters.read(data)], False
    many = data["messages"]
    if not isinstance(many, list) or not 0 < len(many) <= MOST_AT_ONCE:
        raise problems.invalid([{"field": "messages", "detail": f"a list of 1 to {MOST_AT_ONCE} messages"}])
    return [_read(each) for each in many], True


def _read(value: Any) -> NewMessage | Problem:
    try:
        return letters.read(value)
    except Problem as refusal:
        return refusal
