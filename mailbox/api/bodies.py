"""The bodies of the mailbox calls, as typed values. `mailbox.envelope` reads the messages themselves.

An unknown field is refused. Otherwise a misspelt field would be ignored, and its default used.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from core.web import faults, problems, request_body
from core.web.problems import Problem
from mailbox import envelope
from mailbox.claims import LONGEST_DELAY, LONGEST_LEASE, MOST, SHORTEST_LEASE
from mailbox.envelope import LONGEST_ID, NewMessage

MOST_AT_ONCE = 1000
LONGEST_NOTE = 10_000
MANY = frozenset({"messages"})

Consumer = Annotated[str, Meta(max_length=LONGEST_ID)]
Lease = Annotated[float, Meta(ge=SHORTEST_LEASE, le=LONGEST_LEASE)]
Ids = Annotated[list[Annotated[str, Meta(max_length=LONGEST_ID)]], Meta(max_length=MOST)]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base class of every body."""


class Drain(Body, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 100
    lease_secs: Lease | None = None
    consumer: Consumer = ""


class Recover(Body, frozen=True):
    lease_secs: Lease | None = None
    consumer: Consumer = ""


class Ack(Body, frozen=True):
    claim: str
    ids: Ids


class Nack(Body, frozen=True):
    claim: str
    ids: Ids
    delay_secs: Annotated[float, Meta(ge=0, le=LONGEST_DELAY)] = 0


class Extend(Body, frozen=True):
    claim: str
    lease_secs: Lease | None = None


class Reply(Body, frozen=True):
    ask_id: str
    answer: Any = None


class Requeue(Body, frozen=True):
    message: Any = None
    address: str | None = None


class Discard(Body, frozen=True):
    note: Annotated[str, Meta(max_length=LONGEST_NOTE)]


BodyT = TypeVar("BodyT", bound=Body)


def read(kind: type[BodyT], data: Any) -> BodyT:
    """Return the typed body, or raise 422 with the field that is wrong. Null equals absent."""
    return request_body.convert(data, kind)


def messages(data: Any) -> tuple[list[NewMessage | Problem], bool]:
    """Return the messages in a body, and True if it was a list. An unreadable message is returned as its problem."""
    if not isinstance(data, dict) or "messages" not in data:
        return [envelope.read(data, closed=True)], False
    if errors := envelope.beyond(data, MANY):
        raise problems.invalid(errors)
    many = data["messages"]
    if not isinstance(many, list) or not 0 < len(many) <= MOST_AT_ONCE:
        raise problems.invalid([faults.wrong("messages", many, faults.array(MOST_AT_ONCE, 1, "message"))])
    found: list[NewMessage | Problem] = []
    for each in many:
        try:
            found.append(envelope.read(each, closed=True))
        except Problem as refusal:
            found.append(refusal)
    return found, True
